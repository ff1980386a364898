"""Build a collection and search it in this process, without a server.

    pip install 'vectorcache[build]'
    python examples/build_and_search.py ./blobs

The argument is the folder of the blob store. `vectorcache local --blobs ./blobs` serves the same collection.
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np

from vectorcache import (
    Chunk,
    ChunkCodec,
    ChunkIndex,
    DiskFileStore,
    EfficientVectorStorage,
    build_collection,
    open_blob_store,
)


async def main(folder: str) -> None:
    """Build the collection ``points``, and print the neighbours of its first vector."""
    vectors = np.random.default_rng(0).normal(size=(5000, 32)).astype(np.float32)
    async with open_blob_store(folder, {}) as blobs:
        built = await build_collection(blobs, "points", vectors)
        print(f"built version {built.manifest.version}: {built.manifest.vectors} vectors")

        storage = EfficientVectorStorage[Chunk](
            blobs,
            DiskFileStore(f"{folder}.cache"),  # the disk layer
            ChunkCodec(),
            memory_bytes=64 << 20,
            weigh=lambda chunk: chunk.nbytes,
        )
        await storage.open()
        async with await ChunkIndex.open(blobs, "points", storage) as index:
            (answer,) = await index.search(vectors[0], k=5, recall=0.99)
            for neighbour, distance in zip(answer.ids, answer.distances, strict=True):
                print(f"{neighbour:>5} {distance:.3f}")
        await storage.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "./blobs"))
