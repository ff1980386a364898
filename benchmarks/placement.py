"""Nodes that a query asks, by how many nodes and shards there are: one collection of text embeddings.

Chunks placed one by one stand beside shards of several sizes; each figure is a mean over held-out queries at rest.
"""

from __future__ import annotations

import asyncio

import numpy as np
from benchmarks.data import load
from benchmarks.support import arguments, at_most, report

from vectorcache import MemoryBlobStore, build_collection
from vectorcache.index.coarse import CoarseQuantizer, load_coarse
from vectorcache.routing.load import NodeLoads
from vectorcache.routing.placement import Placement
from vectorcache.routing.ring import HashRing

NODES = (3, 10, 50)
SHARDS = (64, 16, 4, 1)
MEASURED = {3: 2.3, 10: 5.3, 50: 9.6}
"""Nodes per query that 64 groups of cells took with two replicas and a greedy cover, before there were shards."""


def asked(coarse: CoarseQuantizer, cells: list[np.ndarray], nodes: int, shard_bytes: int) -> float:
    """Mean number of nodes that a query asks."""
    placement = Placement(HashRing([f"node-{n}" for n in range(nodes)]), shard_bytes, NodeLoads())
    chosen = [placement.nodes_for(coarse.manifest, [one]) for one in cells]
    return float(np.mean([len(np.unique(one)) for one in chosen if one is not None]))


async def measure(vectors: int, queries: int) -> None:
    """Build once, and place it in all ways."""
    data = load("text-256", vectors)
    blobs = MemoryBlobStore()
    manifest = (await build_collection(blobs, "benchmark", data.vectors)).manifest
    coarse = await load_coarse(blobs, manifest)
    cells = coarse.probe(data.queries[:queries], manifest.search.nprobe)
    size = sum(chunk.bytes for chunk in manifest.chunks)
    chunks = np.mean([len(np.unique(coarse.chunk_of_cell[one])) for one in cells])
    figures: dict[str, object] = {
        "chunks, and of them probed by a query": f"{len(manifest.chunks)}, {chunks:.1f}",
    }
    table = {}
    for nodes in NODES:
        by_chunk = asked(coarse, cells, nodes, 1)
        table[nodes] = {shards: asked(coarse, cells, nodes, -(-size // shards)) for shards in SHARDS}
        told = [f"{count} shards {value:.2f}" for count, value in table[nodes].items()]
        figures[f"nodes per query, {nodes} nodes"] = f"chunks {by_chunk:.2f}, " + ", ".join(told)
    report(
        "placement",
        figures,
        [
            *(at_most(f"{nodes} nodes, one shard", table[nodes][1], 1.0) for nodes in NODES),
            *(at_most(f"{nodes} nodes, 16 shards", table[nodes][16], MEASURED[nodes]) for nodes in NODES),
        ],
    )


def main() -> None:
    """Print the table."""
    options = arguments(__doc__ or "", queries=1000, vectors=250_000)
    asyncio.run(measure(options.vectors, options.queries))


if __name__ == "__main__":
    main()
