"""Number of nodes searched per query, by the number of nodes and shards, for one collection of text embeddings.

Chunks that are placed individually are compared with shards of several sizes. Each figure is a mean over held-out
queries without other load.
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
"""Nodes per query, by number of nodes, of the earlier placement: 64 groups of cells, two replicas, a greedy cover."""


def asked(coarse: CoarseQuantizer, cells: list[np.ndarray], nodes: int, shard_bytes: int) -> float:
    """Return the mean number of nodes searched per query."""
    placement = Placement(HashRing([f"node-{n}" for n in range(nodes)]), shard_bytes, NodeLoads())
    chosen = [placement.nodes_for(coarse.manifest, [one]) for one in cells]
    return float(np.mean([len(np.unique(one)) for one in chosen if one is not None]))


async def measure(vectors: int, queries: int) -> None:
    """Build one collection, and place it with every number of nodes and shards."""
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
