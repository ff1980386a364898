"""A model of a large deployment: by default a billion vectors of 768 components on 1000 nodes.

The program measures unit costs on this machine, and then simulates the deployment.

- Real: ``HashRing``, ``Placement``, ``NodeLoads``, ``pack_cells``, ``CoarseQuantizer``, and the settings of
  the build. The manifest that is placed has about 200 000 entries. Each entry stands for a run of chunks in
  one shard.
- Measured: two small collections are built. Where the chunk size bounds the cells of the deployment, it
  bounds theirs too (cells of more than 512 rows are replaced by cells of 512 KiB).
- Extrapolated: nprobe = a * cells ** b, fitted to the nprobe of the two builds. The time in which a router
  chooses cells is linear in the number of cells. The number of shards that a query touches grows as a power
  of the number of cells. It is measured on vectors that are packed instead of centroids.
- Assumed: the vectors have the geometry of ``text-256``, embedded in more components by an orthogonal map.
  Messages cost half of the figure in docs/benchmarks.md for 1 client, as they do with 8 clients. Each searched
  node compares as many vectors exactly as a measured scan of a sixteenth of the cells.
- Not modelled: the network, failures, updates, batches and hedged requests. All routers share one view of loads.

Queries arrive at random times (Poisson) and wait for a free core of a router, then of each node. While a node
reads vectors from disk, it occupies one of its cores.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import math
import resource
import tempfile
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import msgspec
import numpy as np
from benchmarks.data import DataSet, load
from benchmarks.support import opened, report
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from vectorcache import BuildSettings, ChunkIndex, Manifest, MemoryBlobStore, build_collection, native
from vectorcache.index.cluster import CLOSURE_CAP, nearest_centroids
from vectorcache.index.coarse import CODED_FROM, CoarseQuantizer
from vectorcache.index.coded import BITS
from vectorcache.index.lookup import SHARD_IDS
from vectorcache.index.manifest import BlobRef, ChunkInfo, decode_manifest, encode_manifest
from vectorcache.index.pack import pack_cells
from vectorcache.index.scan import NativeScan
from vectorcache.index.versions import OpenVersion
from vectorcache.routing import placement
from vectorcache.routing.load import NodeLoads
from vectorcache.routing.ring import HashRing
from vectorcache.vectors.codes import TWO_BITS_FROM, bits_for, row_code_bytes

BUILDS = (8_000, 32_000)  # vectors
PROBED = (CODED_FROM, 32_000)  # centroids
PACKED = (4_096, 16_384)  # vectors used as centroids
ENTRIES = 200_000  # entries of the placed manifest
MANIFEST_ENTRIES = 20_000  # entries of the measured manifest
TOPICS = 500  # distinct queries
ROUNDS = 5  # of timing
ALPHA = 1.1  # of Zipf's law
KEPT_METADATA = 64 << 20  # the largest blob of metadata that a node keeps for routers
HOURS = 730.0  # of a month
OVERHEAD = 150 << 20  # of a process, bytes
MOST_CELLS = 1 << 24  # of a build

Options = argparse.Namespace


class Unit(NamedTuple):
    """Costs of one unit, measured on this machine."""

    row_bytes: float
    """Bytes of a row in a chunk file."""
    copies: float
    """Rows per vector."""
    cell_fill: float
    """Rows of a cell, relative to the maximum of a chunk, if the chunk size bounds cells."""
    chunk_fill: float
    """Bytes of a chunk, relative to ``chunk_bytes``."""
    probes: tuple[float, float]
    """The factor and the exponent of nprobe."""
    row_seconds: float
    """Seconds of a scan per row."""
    scored: float
    """Number of vectors that a scan compares exactly."""
    pair_seconds: float
    """Seconds in which a build compares one vector with one centroid."""


@dataclass
class Layout:
    """The output of a build of the deployment's size."""

    cells: int
    chunks: int
    rows: float
    bytes: float
    code_bytes: float
    nprobe: int
    shards: int


class ManifestCosts(NamedTuple):
    """Costs of the manifest per chunk: bytes as JSON, in a router and in a node, and seconds to read."""

    json: float
    in_router: float
    in_node: float
    seconds: float


class Touched(NamedTuple):
    """The shards of a query (n,), and the number of its cells in each (n,)."""

    shards: NDArray[np.intp]
    cells: NDArray[np.intp]


class Outcome(NamedTuple):
    """One simulated stream of queries."""

    fan_out: NDArray[np.intp]
    latencies: NDArray[np.float64]
    imbalance: float
    """Work of the most loaded node, relative to the mean."""


def embedded(count: int, dimension: int) -> DataSet:
    """Return vectors and queries of ``text-256`` mapped to another number of components."""
    data = load("text-256", count)
    size = max(dimension, data.vectors.shape[1])
    basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))
    turn = basis[: data.vectors.shape[1], :dimension].astype(np.float32)
    return DataSet(data.vectors @ turn, data.queries @ turn)


def rows_of(options: Options) -> tuple[float, int]:
    """Return the number of vectors per cell after k-means, and the maximum number of rows in a chunk."""
    bits = bits_for("auto", options.dimension)
    codes = 0 if bits is None else row_code_bytes(options.dimension, bits)
    most = max(1, options.chunk_bytes // (4 * options.dimension + 16 + codes))
    return options.vectors / BuildSettings().cells_for(options.vectors), most


async def measure_units(options: Options, data: DataSet) -> tuple[Unit, Manifest]:
    """Build two small collections, and search the larger one."""
    per_cell, most = rows_of(options)
    chunk_bytes = options.chunk_bytes if most <= 512 else min(options.chunk_bytes, 512 << 10)
    manifests = []
    for count in BUILDS:
        cells = max(4, round(count / min(per_cell, 1500)))
        settings = BuildSettings(cells=cells, chunk_bytes=chunk_bytes, iterations=4, calibration_queries=400)
        blobs = MemoryBlobStore()
        manifests.append((await build_collection(blobs, "model", data.vectors[:count], settings)).manifest)
    small, large = manifests
    growth = math.log(large.search.nprobe / small.search.nprobe) / math.log(large.cells / small.cells)
    growth = options.growth or growth
    total = sum(chunk.bytes for chunk in large.chunks)
    row_bytes = total / large.rows
    with tempfile.TemporaryDirectory() as folder:
        row_seconds, scored = await scan_costs(blobs, large, data, Path(folder))
    unit = Unit(
        row_bytes=row_bytes,
        copies=large.rows / large.vectors,
        cell_fill=large.rows / large.cells / (chunk_bytes / row_bytes),
        chunk_fill=total / len(large.chunks) / chunk_bytes,
        probes=(large.search.nprobe / large.cells**growth, growth),
        row_seconds=row_seconds,
        scored=options.reranked or scored,
        pair_seconds=pair_seconds(data),
    )
    return unit, large


def pair_seconds(data: DataSet) -> float:
    """Return the seconds in which a build compares one vector with one centroid, on all cores."""
    vectors, centroids = data.vectors[:4096], data.vectors[:8192]
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        nearest_centroids(vectors, centroids, CLOSURE_CAP)
        times.append(time.perf_counter() - started)
    return min(times) / (len(vectors) * len(centroids))


class CountingKernel(native.Kernel):
    """A kernel that counts the vectors that scans compare exactly."""

    def __init__(self, kernel: native.Kernel) -> None:
        self._kernel = kernel
        self.scored: list[int] = []

    def nearest_in_cells(self, *positional: Any, **named: Any) -> list[native.Nearest]:
        found = self._kernel.nearest_in_cells(*positional, **named)
        self.scored += [one.scored for one in found]
        return found


async def scan_costs(
    blobs: MemoryBlobStore, manifest: Manifest, data: DataSet, folder: Path
) -> tuple[float, float]:
    """Return the seconds per row, and the mean number of vectors compared exactly in searches of few cells.

    The former is the slope between searches of few and of many cells. Searches are warm, with one query at a time.
    """
    points = []
    async with opened(blobs, manifest.collection, folder) as (index, storage):
        kernel = native.kernel()
        assert kernel is not None, "the model takes the compiled kernel"
        counting = CountingKernel(kernel)
        scan = NativeScan(counting)
        async with await ChunkIndex.open(blobs, manifest.collection, storage, scan=scan) as counted:
            for query in data.queries[:200]:
                await counted.search(query, nprobe=max(1, manifest.cells // 16))
        for nprobe in (max(1, manifest.cells // 16), manifest.cells // 2):
            times, rows = np.empty((ROUNDS, 40)), 0
            for at in range(times.size):
                started = time.perf_counter()
                answer = (await index.search(data.queries[at % 40], nprobe=nprobe))[0]
                times.flat[at] = time.perf_counter() - started
                rows += answer.scanned
            points.append((typical(times), rows / times.size))
    return (points[1][0] - points[0][0]) / (points[1][1] - points[0][1]), float(np.mean(counting.scored))


def typical(times: NDArray[np.float64]) -> float:
    """Return the median of each query's fastest round: (rounds, queries). Other programs use the machine too."""
    return float(np.median(times.min(axis=0)))


def lay_out(options: Options, unit: Unit) -> Layout:
    """Return the cells, chunks and bytes of the deployment, computed as in a build."""
    per_cell, most = rows_of(options)
    rows = options.vectors * unit.copies
    split = math.ceil(rows * unit.row_bytes / (unit.cell_fill * options.chunk_bytes))
    cells = split if per_cell > most else BuildSettings().cells_for(options.vectors)
    size = rows * unit.row_bytes
    factor, growth = unit.probes
    bits = bits_for("auto", options.dimension)
    return Layout(
        cells=cells,
        chunks=min(cells, math.ceil(size / (unit.chunk_fill * options.chunk_bytes))),
        rows=rows,
        bytes=size,
        code_bytes=0 if bits is None else rows * row_code_bytes(options.dimension, bits),
        nprobe=options.nprobe or max(1, min(cells, round(factor * cells**growth))),
        shards=math.ceil(size / options.shard_bytes),
    )


def probe_seconds(layout: Layout, manifest: Manifest, data: DataSet) -> float:
    """Return the seconds in which one thread chooses cells: measured, or extrapolated from two measurements."""
    sizes = PROBED if layout.cells > PROBED[1] else (layout.cells,)
    times = []
    for count in sizes:
        chunk = ChunkInfo(0, count, count, 1, "")
        sized = msgspec.structs.replace(manifest, cells=count, chunks=(chunk,))
        coarse = CoarseQuantizer(sized, np.ascontiguousarray(data.vectors[:count]))
        nprobe = max(1, count * layout.nprobe // layout.cells)
        taken = np.empty((ROUNDS, 20))
        for at in range(taken.size):
            started = time.perf_counter()
            coarse.probe(data.queries[at % 20][None], nprobe)
            taken.flat[at] = time.perf_counter() - started
        times.append(typical(taken))
    if len(sizes) == 1:
        return times[0]
    return times[1] + (times[1] - times[0]) / (sizes[1] - sizes[0]) * (layout.cells - sizes[1])


def manifest_costs(manifest: Manifest, layout: Layout) -> ManifestCosts:
    """Measure a manifest with as many cells and lookup shards per chunk as that of the deployment."""
    cells = max(1, round(layout.cells / layout.chunks))
    digest = manifest.centroids.checksum
    chunks = [ChunkInfo(at * cells, cells, 99, 1 << 19, digest) for at in range(MANIFEST_ENTRIES)]
    lookup = round(layout.rows / SHARD_IDS / layout.chunks * MANIFEST_ENTRIES)
    data = encode_manifest(
        msgspec.structs.replace(
            manifest,
            cells=cells * len(chunks),
            chunks=tuple(chunks),
            lookup=(BlobRef(1 << 18, digest),) * lookup,
        )
    )
    started = time.perf_counter()
    decode_manifest(data, "model")
    seconds = time.perf_counter() - started
    tracemalloc.start()
    decoded = decode_manifest(data, "model")
    in_router = tracemalloc.get_traced_memory()[0]
    version = OpenVersion(decoded)
    in_node = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del version
    return ManifestCosts(*(cost / len(chunks) for cost in (len(data), in_router, in_node, seconds)))


def measured_shards(layout: Layout, unit: Unit, data: DataSet, count: int) -> NDArray[np.intp]:
    """Return the shard of each probed cell (b, nprobe), with ``count`` vectors as centroids.

    A shard has as many cells as in the deployment, and nprobe is that of ``count`` cells.
    """
    parts = pack_cells(
        data.vectors[:count], np.ones(count, dtype=np.int64), chunk_bytes=1, cells_per_chunk=None
    )
    ordered = np.ascontiguousarray(data.vectors[np.concatenate(parts)])
    factor, growth = unit.probes
    nprobe = layout.nprobe if count == layout.cells else round(factor * count**growth)
    _, near = faiss.knn(data.queries[:TOPICS], ordered, max(1, min(count, nprobe)))
    shards = max(1, round(count * layout.shards / layout.cells))
    return np.asarray(near * shards // count, dtype=np.intp)


def touched_shards(layout: Layout, unit: Unit, data: DataSet, seed: int) -> list[Touched]:
    """Return the shards of each topic. A measured shard represents a group of shards, of which a query touches some.

    Their number follows from the measured growth, and they are chosen from the group at random.
    """
    random = np.random.default_rng(seed)
    small, large = (min(count, layout.cells) for count in PACKED)
    measured = measured_shards(layout, unit, data, large)
    few = distinct(measured_shards(layout, unit, data, small))
    growth = math.log(distinct(measured) / few) / math.log(large / small) if small < large else 0.0
    groups = max(1, round(large * layout.shards / layout.cells))
    bounds = np.linspace(0, layout.shards, groups + 1).round().astype(np.intp)
    wanted = (layout.cells / large) ** growth
    topics = []
    for near in measured:
        shards, shares = [], []
        for group, weight in zip(*np.unique(near, return_counts=True), strict=True):
            size = bounds[group + 1] - bounds[group]
            # At most one shard per cell.
            most = min(size, math.ceil(weight / len(near) * layout.nprobe))
            taken = int(min(most, wanted + random.random()))
            shards.append(bounds[group] + random.choice(size, taken, replace=False))
            shares.append(np.full(taken, weight / taken / len(near)))
        cells = np.maximum(1, np.concatenate(shares) * layout.nprobe).round().astype(np.intp)
        topics.append(Touched(np.concatenate(shards), cells))
    return topics


def distinct(shards: NDArray[np.intp]) -> float:
    """Return the mean number of shards that a query touches."""
    return float(np.mean([len(np.unique(one)) for one in shards]))


class Fleet:
    """The nodes of one ring, the shards on it, and the time that a request takes."""

    def __init__(self, options: Options, unit: Unit, layout: Layout, manifest: Manifest, copies: int) -> None:
        names = [f"node-{number}" for number in range(options.nodes)]
        self.ring = HashRing(names, options.virtual_nodes, copies)
        self.now = 0.0
        self.loads = NodeLoads(lambda: self.now)
        self.placement = placement.Placement(self.ring, options.shard_bytes, self.loads)
        entries = min(layout.chunks, max(ENTRIES, 4 * layout.shards))
        chunk = ChunkInfo(0, 1, 1, math.ceil(layout.bytes / entries), "")
        self.manifest = msgspec.structs.replace(manifest, cells=entries, chunks=(chunk,) * entries)
        self.shards = placement.shards_of(self.manifest, options.shard_bytes)
        self._first = np.searchsorted(self.shards.of_chunk, np.arange(len(self.shards.keys)))
        self._cores = options.cores
        self.message_seconds = options.node_message_us * 1e-6
        self.read_seconds = unit.scored * (1 - options.hot_share) * options.disk_read_us * 1e-6
        self.cell_seconds = unit.row_seconds * layout.rows / layout.cells

    def place(self, topic: Touched) -> tuple[list[int], list[int]]:
        """Return the nodes that are searched for a query, and the number of cells on each."""
        shards = np.minimum(topic.shards, len(self._first) - 1)
        cells = np.repeat(self._first[shards].astype(np.int32), topic.cells)
        chosen = self.placement.nodes_for(self.manifest, [cells])
        assert chosen is not None, "no node has been tried"
        nodes, counts = np.unique(chosen, return_counts=True)
        return nodes.tolist(), counts.tolist()

    def place_seconds(self, topics: list[Touched]) -> float:
        """Return the time to place a query without other load."""
        self.place(topics[0])
        times = np.empty((ROUNDS, 10))
        for at in range(times.size):
            started = time.perf_counter()
            self.place(topics[at % 10])
            times.flat[at] = time.perf_counter() - started
        return typical(times)

    def work(self, topics: list[Touched], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (3, nodes) seconds of messages, reads and scans of each node for a mean query without other load."""
        requests, cells = np.zeros((2, len(self.ring.nodes)))
        for topic, weight in zip(topics, weights.tolist(), strict=True):
            nodes, counts = self.place(topic)
            requests[nodes] += weight
            cells[nodes] += weight * np.array(counts)
        messages, reads = requests * self.message_seconds, requests * self.read_seconds
        return np.stack([messages, reads, cells * self.cell_seconds])

    def simulate(
        self, topics: list[Touched], order: NDArray[np.intp], rate: float, routers: int, router_seconds: float
    ) -> Outcome:
        """Simulate queries at a mean ``rate`` per second, for at most 8 seconds of this machine."""
        arrivals = np.cumsum(np.random.default_rng(1).exponential(1 / rate, len(order))).tolist()
        free = [[0.0] * self._cores for _ in self.ring.nodes]
        router_free = [0.0] * (routers * self._cores)
        work = np.zeros(len(free))
        running: list[tuple[float, int, int]] = []
        fan_out, latencies = [], []
        until = time.perf_counter() + 8
        for arrival, topic in zip(arrivals, order.tolist(), strict=True):
            self.now = max(arrival, heapq.heappop(router_free)) + router_seconds
            heapq.heappush(router_free, self.now)
            while running and running[0][0] <= self.now:
                _, node, cells = heapq.heappop(running)
                self.loads.done(self.ring.nodes[node], cells)
            last = self.now
            nodes, counts = self.place(topics[topic])
            for node, cells in zip(nodes, counts, strict=True):
                self.loads.asked(self.ring.nodes[node], cells)
                seconds = self.message_seconds + self.read_seconds + cells * self.cell_seconds
                end = max(self.now, free[node][0]) + seconds
                heapq.heapreplace(free[node], end)
                heapq.heappush(running, (end, node, cells))
                work[node] += seconds
                last = max(last, end)
            fan_out.append(len(nodes))
            latencies.append(last - arrival)
            if time.perf_counter() > until:
                break
        for _, node, cells in running:
            self.loads.done(self.ring.nodes[node], cells)
        return Outcome(np.array(fan_out), np.array(latencies), float(work.max() / work.mean()))

    def moved(self) -> tuple[float, float]:
        """Return the shares of slots and of shards whose first owner changes when a node is added."""
        slots = self.ring.moved(self.ring.with_node(f"node-{len(self.ring.nodes)}"))
        shards = np.isin(self.ring.slots(self.shards.keys), slots)
        return len(slots) / self.ring.virtual_nodes, float(shards.mean())

    def stored(self) -> float:
        """Return the maximum number of shards of a node, relative to the mean."""
        counts = np.bincount(np.concatenate(self.shards.owners(self.ring)), minlength=len(self.ring.nodes))
        return float(counts.max() / counts.mean())

    def open_seconds(self) -> float:
        """Return the time to compute the shards and their owners for a new version."""
        started = time.perf_counter()
        placement.shards_of(self.manifest, self.placement._shard_bytes).owners(self.ring)
        self.manifest.chunk_of_cell()
        return time.perf_counter() - started

    def crowded_seconds(self, topic: Touched) -> float:
        """Return the time to place a query while the load of one of its nodes exceeds the bound."""
        node = self.ring.nodes[self.place(topic)[0][0]]
        self.loads.asked(node, 1 << 40)
        started = time.perf_counter()
        self.place(topic)
        taken = time.perf_counter() - started
        self.loads.done(node, 1 << 40)
        return taken


class Deployment:
    """The memory and cost of the machines, and the limits that the deployment exceeds."""

    def __init__(self, options: Options, unit: Unit, layout: Layout, probing: float, costs: ManifestCosts):
        self.options, self.unit, self.layout, self.probing, self.costs = options, unit, layout, probing, costs
        dimension = options.dimension
        coded = dimension >= TWO_BITS_FROM and layout.cells >= CODED_FROM
        self.centroids = layout.cells * (4 * dimension + 16 + coded * (row_code_bytes(dimension, BITS) + 20))
        self.ring = 16 * options.virtual_nodes * options.nodes  # scores, and the orders that were asked for
        self.router = OVERHEAD + self.centroids + costs.in_router * layout.chunks + self.ring
        self.scanned = layout.nprobe * layout.rows / layout.cells

    def node_memory(self, copies: int, hot: float) -> float:
        """Return the bytes of a node: the process, the manifest, codes, and a share of the vectors."""
        vectors = self.layout.bytes - self.layout.code_bytes
        held = copies * (self.layout.code_bytes + hot * vectors) / self.options.nodes
        return float(OVERHEAD + self.costs.in_node * self.layout.chunks + held)

    def dollars(self, copies: int, routers: int) -> float:
        """Return the dollars per month, with hot vectors in memory."""
        options = self.options
        machines = options.nodes + routers
        memory = options.nodes * self.node_memory(copies, options.hot_share) + routers * self.router
        stored = options.blob_price + copies * options.disk_price
        hourly = options.cpu_price * options.cores * machines + options.memory_price * memory / 2**30
        return float(stored * self.layout.bytes / 1e9 + hourly * HOURS)

    def figures(self) -> dict[str, object]:
        """Return the figures that do not depend on the replication."""
        options, layout, costs, (factor, growth) = self.options, self.layout, self.costs, self.unit.probes
        lower = round(factor * layout.cells ** (growth - 0.1))
        return {
            "vectors": f"{options.vectors:,} x {options.dimension}",
            "nodes": f"{options.nodes:,} of {options.cores} vCPU",
            "cells, chunks, shards": f"{layout.cells:,}, {layout.chunks:,}, {layout.shards:,}",
            "nprobe": f"{layout.nprobe:,} = {factor:.2f} * cells ** {growth:.2f}; {lower:,} with an exponent of "
            f"{growth - 0.1:.2f}",
            "rows scanned by a query": f"{self.scanned:,.0f}, {self.scanned / layout.rows:.2%} of all",
            "measured: ns per row; vectors read per node": f"{self.unit.row_seconds * 1e9:.1f}; "
            f"{self.unit.scored:.0f}",
            "blob store, TB: all, codes": f"{layout.bytes / 1e12:.3f}, {layout.code_bytes / 1e12:.3f}",
            "router memory, GB": f"{self.router / 1e9:.2f}: centroids {self.centroids / 1e9:.2f}, manifest "
            f"{costs.in_router * layout.chunks / 1e9:.2f}, ring {self.ring / 1e9:.2f}",
        }

    def limits(self, fleet: Fleet, topics: list[Touched], asked: float) -> dict[str, object]:
        """Return the limits that are relevant at this size: the name of each bottleneck, and its figure."""
        options, layout, costs = self.options, self.layout, self.costs
        build = BuildSettings()
        per_cell, most = rows_of(options)
        document, in_node = costs.json * layout.chunks, costs.in_node * layout.chunks
        codes = layout.code_bytes / options.nodes
        placed = 8 * (layout.cells + layout.chunks) + (256 + 8 * fleet.ring.replication) * layout.shards
        sample = 4 * options.dimension * build.sample_per_cell * build.cells_for(options.vectors)
        building = sample + 12 * layout.rows
        compared = build.cells_for(options.vectors) + (layout.cells if per_cell > most else 0)
        days = self.unit.pair_seconds * options.vectors * compared / 86400
        least_in_flight = placement.SLACK * options.nodes / (1 + placement.EPSILON)
        crowded = fleet.crowded_seconds(topics[0])
        placing = fleet.open_seconds() * layout.chunks / len(fleet.manifest.chunks)
        scanning = self.scanned * self.unit.row_seconds
        reads = asked * self.unit.scored * (1 - options.hot_share)
        found = (
            ("number of cells", layout.cells > MOST_CELLS, f"{layout.cells:,}; at most {MOST_CELLS:,}"),
            ("size of chunks", per_cell > most,
             f"cells of {per_cell:,.0f} rows are split, because a chunk holds {most}"),
            ("centroids of a router", self.centroids > 1 << 30,
             f"{self.centroids / 1e9:.1f} GB; the default bound is 1.1 GB"),
            ("choice of cells", self.probing > 0.01, f"{self.probing * 1e3:,.0f} ms of a core per query"),
            ("manifest as one JSON", document > KEPT_METADATA,
             f"{document / 1e6:,.0f} MB, {costs.seconds * layout.chunks:,.1f} s to read"),
            ("manifest in every node", in_node > codes,
             f"{in_node / 1e9:.2f} GB; the node's codes take {codes / 1e9:.2f} GB"),
            ("placement of a version", placed > placement._VERSIONS_BYTES,
             f"{placed / 1e6:,.0f} MB; above 67 MB, each query recomputes it, {placing:.1f} s (not modelled)"),
            ("slots of the ring", options.virtual_nodes < 100 * options.nodes,
             f"{options.virtual_nodes / options.nodes:.0f} per node; at least 100 are advised"),
            ("fan-out", asked > 64, f"{asked:,.0f} of {options.nodes:,} nodes per query"),
            ("bounded loads", asked > 64,
             f"have no effect below {least_in_flight:,.0f} queries in flight, because SLACK counts whole queries"),
            ("placing beyond the bound", crowded > 0.01, f"{crowded * 1e3:,.0f} ms of a router per query"),
            ("rows scanned", self.scanned > 1e6, f"{self.scanned:,.0f}, {scanning * 1e3:,.0f} ms per query"),
            ("reads of vectors", reads > 1000, f"{reads:,.0f} from disk per query, of all nodes"),
            ("memory of a build", building > 16 << 30, f"at least {building / 1e9:,.0f} GB in one process"),
            ("time of a build", days > 1,
             f"{days:,.0f} days to assign vectors to cells, on the cores of this machine"),
        )  # fmt: skip
        return {f"bottleneck: {name}": text for name, reached, text in found if reached}


def fleet_figures(deployment: Deployment, fleet: Fleet, topics: list[Touched]) -> dict[str, object]:
    """Return the figures of one replication, with a simulation of each popularity, and the limits with two replicas."""
    options, layout, copies = deployment.options, deployment.layout, fleet.ring.replication
    label = f"replication {copies}"
    slots, shards = fleet.moved()
    figures: dict[str, object] = {
        f"{label}: disk per node, GB": f"{copies * layout.bytes / options.nodes / 1e9:.2f}; "
        f"{fleet.stored():.2f} times as much on the fullest node",
        f"{label}: memory per node, GB": f"{deployment.node_memory(copies, 0) / 1e9:.2f} with codes, "
        f"{deployment.node_memory(copies, options.hot_share) / 1e9:.2f} with hot vectors too",
        f"{label}: moved to a new node": f"{slots:.2%} of the slots, {shards * layout.chunks:,.0f} chunks, "
        f"{shards * layout.bytes / 1e9:,.2f} GB",
    }
    placing = fleet.place_seconds(topics)
    for popularity, alpha in (("uniform", 0.0), ("Zipf", ALPHA)):
        weights = np.arange(1, len(topics) + 1, dtype=np.float64) ** -alpha
        weights /= weights.sum()
        parts = fleet.work(topics, weights)
        asked = float(parts[0].sum() / fleet.message_seconds)
        messages = (options.router_query_us + asked * options.router_message_us) * 1e-6
        router = deployment.probing + placing + messages
        node_rate = options.cores / float(parts.sum(axis=0).max())
        routers = options.routers or math.ceil(node_rate * router / options.cores)
        router_rate = routers * options.cores / router
        arriving = options.load * min(node_rate, router_rate)
        order = np.random.default_rng(options.seed).choice(len(topics), options.queries, p=weights)
        seen = fleet.simulate(topics, order, arriving, routers, router)
        node_rate = options.nodes * options.cores / parts.sum() / seen.imbalance
        rate = min(node_rate, router_rate)
        bound = "nodes" if node_rate < router_rate else "routers"
        p50, p99 = np.percentile(seen.latencies, [50, 99]) * 1e3
        dollars = deployment.dollars(copies, routers)
        million = 1e6 * dollars / (options.load * rate * HOURS * 3600)
        message, read, scan = parts.sum(axis=1) * 1e3
        name = f"{label}, {popularity}"
        figures |= {
            f"{name}: nodes per query": f"mean {seen.fan_out.mean():,.1f}, "
            f"p99 {np.percentile(seen.fan_out, 99):,.0f} ({len(seen.fan_out):,} queries)",
            f"{name}: ms of all nodes": f"messages {message:,.1f}, reads {read:,.1f}, scans {scan:,.1f}",
            f"{name}: ms of a router": f"cells {deployment.probing * 1e3:,.1f}, placing {placing * 1e3:.1f}, "
            f"messages {messages * 1e3:.1f}",
            f"{name}: queries/s": f"{rate:,.0f}, bound by the {bound}; {routers:,} routers",
            f"{name}: ms at {arriving:,.0f}/s": f"p50 {p50:,.1f}, p99 {p99:,.1f}",
            f"{name}: load, max/mean": f"{seen.imbalance:.2f}",
            f"{name}: dollars": f"{dollars:,.0f} a month, {million:,.2f} per million queries",
        }
    return figures if copies == 1 else figures | deployment.limits(fleet, topics, asked)


async def measure(options: Options) -> dict[str, object]:
    """Measure the units, then simulate."""
    started = time.perf_counter()
    data = embedded(max(BUILDS), options.dimension)
    unit, manifest = await measure_units(options, data)
    layout = lay_out(options, unit)
    probing = probe_seconds(layout, manifest, data)
    deployment = Deployment(options, unit, layout, probing, manifest_costs(manifest, layout))
    topics = touched_shards(layout, unit, data, options.seed)
    del data
    figures = deployment.figures()
    for copies in (1, 2):
        figures |= fleet_figures(deployment, Fleet(options, unit, layout, manifest, copies), topics)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return figures | {"this program: s, GB": f"{time.perf_counter() - started:.0f}, {peak:.2f}"}


NUMBERS: dict[str, tuple[float, str]] = {
    "vectors": (1_000_000_000, "number of vectors in the collection"),
    "dimension": (768, "number of components of a vector"),
    "nodes": (1000, "number of cache nodes"),
    "queries": (1000, "number of queries of each simulation, which stops after 8 s"),
    "seed": (0, "seed of all random choices"),
    "chunk-bytes": (BuildSettings().chunk_bytes, "size of a chunk in bytes"),
    "shard-bytes": (placement.SHARD_BYTES, "size of a shard in bytes"),
    "virtual-nodes": (10_000, "number of slots on the ring"),
    "cores": (2, "number of vCPUs of a node and of a router"),
    "routers": (0, "number of routers; 0 uses as many as keep up with the nodes"),
    "nprobe": (0, "number of cells that a query probes; 0 extrapolates it"),
    "growth": (0.0, "exponent of nprobe; 0 measures it"),
    "load": (0.5, "rate of queries, as a share of the capacity"),
    "hot-share": (0.1, "share of the float32 vectors in memory, which serves the same share of reads"),
    "reranked": (0, "number of vectors that each searched node reads to rank exactly; 0 measures it"),
    "disk-read-us": (100.0, "assumed time of one random read from a local SSD"),
    "router-query-us": (130.0, "CPU time of a router per query; see router-message-us"),
    "router-message-us": (140.0, "CPU time of a router per searched node: together with router-query-us, half of the "
                          "1.1 ms that docs/benchmarks.md states for a query on three nodes"),
    "node-message-us": (250.0, "CPU time of a node per request without the scan: half of 0.6 ms, less the scan"),
    "blob-price": (0.02, "blob storage, $ per GB and month; all prices are similar to list prices, not quotes"),
    "disk-price": (0.08, "block storage on SSD, $ per GB and month"),
    "cpu-price": (0.04, "$ per vCPU and hour"),
    "memory-price": (0.005, "$ per GiB of memory and hour"),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, (default, text) in NUMBERS.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"{text} ({default})")
    with threadpool_limits(2):
        report("scale_model", asyncio.run(measure(parser.parse_args())), [])


if __name__ == "__main__":
    main()
