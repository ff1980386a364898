"""The start of a node: the chunks that it owns come into its cache before searches do.

The node asks nobody: the ring follows from the names of the nodes, which stand in a file, and the chunks from the
manifests. Whatever is missing, or takes too long, is logged, and the node becomes ready all the same: a search
loads what it does not find.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import structlog

from vectorcache.errors import CorruptData, InvalidInput, NotFound, VectorCacheError
from vectorcache.index.catalog import Catalog
from vectorcache.index.chunk import memory_bytes
from vectorcache.index.versions import OpenVersion
from vectorcache.layers.base import LayerStats
from vectorcache.layers.diskfile import file_weight
from vectorcache.layers.storage import ENTRY_BYTES
from vectorcache.routing.placement import SHARD_BYTES, shards_of
from vectorcache.routing.ring import HashRing
from vectorcache_node.node import CacheNode
from vectorcache_node.settings import NodeSettings

FILLED = 0.9
"""How much of a layer's capacity is warmed: sizes in manifests are not quite those in a cache."""

DISK = 1
"""Depth of the disk layer in a node's cache."""


class RingFile(msgspec.Struct, frozen=True):
    """What a ring file holds: the nodes that there are to be, and the settings of the ring over them."""

    nodes: list[str]
    virtual_nodes: int = 10_000
    replication: int = 1
    shard_bytes: int = SHARD_BYTES


@dataclass(frozen=True, slots=True)
class OwnedChunk:
    """A chunk to load.

    Attributes:
        key, size: of its blob.
        weight: about how many bytes it takes in memory.
        mapped: whether it is read where its file is mapped.
        version: collection and version that it belongs to.
    """

    key: str
    size: int
    weight: int
    mapped: bool
    version: tuple[str, int]


@dataclass(slots=True)
class Plan:
    """What to load, in the order of loading: into memory, and what has no room there only to disk.

    Attributes:
        versions: collections and versions to which it belongs.
    """

    memory: list[OwnedChunk] = field(default_factory=list)
    disk: list[OwnedChunk] = field(default_factory=list)
    versions: set[tuple[str, int]] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.memory) + len(self.disk)


class WarmUp:
    """One start of one node.

    Attributes:
        planned: chunks to load, or None while that is not known.
        loaded: chunks in the cache by now.
        seconds: how long it took, or has taken so far.
        done: whether the node should get searches.
    """

    def __init__(
        self,
        node: CacheNode,
        ring_file: Path,
        *,
        timeout: float,
        workers: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.planned: int | None = None
        self.loaded = 0
        self.done = False
        self._node = node
        self._ring_file = ring_file
        self._timeout = timeout
        self._workers = workers
        self._clock = clock
        self._began = clock()
        self._took: float | None = None
        self._log = structlog.get_logger()

    @classmethod
    def of(cls, node: CacheNode, settings: NodeSettings) -> WarmUp:
        """The warm-up that the settings of a node ask for."""
        path = Path(settings.ring_file)
        return cls(node, path, timeout=settings.warmup_timeout, workers=settings.max_loads)

    @property
    def seconds(self) -> float:
        """See the class."""
        return self._clock() - self._began if self._took is None else self._took

    async def unready(self) -> list[str]:
        """Why the node should get no searches yet."""
        if self.done:
            return []
        if self.planned is None:
            return ["warming up: looking for the chunks to load"]
        return [f"warming up: {self.loaded} of {self.planned} chunks"]

    async def run(self) -> None:
        """Load, for as long as there is time; then the node is ready, whatever came of it."""
        outcome = "complete"
        try:
            async with asyncio.timeout(self._timeout):
                await self._load(await self._plan())
        except TimeoutError:
            outcome = "out of time"
        except VectorCacheError as error:
            outcome = str(error)
        except Exception:  # noqa: BLE001 - a node that never becomes ready is worse than a cold one
            outcome = "failed"
            self._log.exception("warm-up failed")
        finally:
            self._took, self.done = self.seconds, True
        self._log.info(
            "warmed up",
            outcome=outcome,
            loaded=self.loaded,
            planned=self.planned,
            seconds=round(self._took, 3),
        )

    async def _plan(self) -> Plan:
        told, ring = await asyncio.to_thread(_read_ring, self._ring_file, self._node.name)
        catalog = Catalog(self._node.blobs)
        versions = []
        for name in await catalog.collections():
            try:
                versions.append(await self._node.versions.open(name, await catalog.current(name)))
            except (NotFound, CorruptData) as error:
                self._log.warning("collection not warmed", collection=name, error=str(error))
        memory, disk = _room(self._node.layers(), "memory"), _room(self._node.layers(), "disk")
        plan = await asyncio.to_thread(
            plan_of, ring, told.shard_bytes, self._node.name, versions, memory, disk
        )
        for collection, version in plan.versions:
            self._node.keeper.searched(collection, version)
        self.planned = len(plan)
        return plan

    async def _load(self, plan: Plan) -> None:
        storage = self._node.storage

        async def warm(chunk: OwnedChunk) -> bool:
            if chunk.mapped:  # by way of the disk, so that memory never holds the whole
                await storage.fill(chunk.key, chunk.size, DISK)
            return await _found(storage.get(chunk.key, chunk.size))

        await self._all(plan.memory, warm)
        await self._all(plan.disk, lambda chunk: storage.fill(chunk.key, chunk.size, DISK))

    async def _all(self, chunks: list[OwnedChunk], load: Callable[[OwnedChunk], Awaitable[bool]]) -> None:
        """Load in the order given, some at a time. A store that does not answer ends it."""
        left = iter(chunks)

        async def work() -> None:
            for chunk in left:
                try:
                    there = await load(chunk)
                    self.loaded += there  # in one step: others count meanwhile
                except (CorruptData, NotFound) as error:
                    self._log.warning("chunk not warmed", key=chunk.key, error=str(error))

        await _side_by_side(work, self._workers)


@asynccontextmanager
async def warming(warm_up: WarmUp) -> AsyncIterator[None]:
    """Warm up while the block runs; what is not done at its end is given up."""
    task = asyncio.create_task(warm_up.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def plan_of(
    ring: HashRing, shard_bytes: int, name: str, versions: list[OpenVersion], memory: float, disk: float
) -> Plan:
    """What a node should load: chunks that it owns first of all replicas first, then the second ones, and so on.

    ``memory`` and ``disk`` are the bytes that there is room for. Everything in memory comes to disk as well.
    """
    plan = Plan()
    for chunk in _owned(ring, shard_bytes, name, versions):
        memory -= chunk.weight
        disk -= file_weight(chunk.size)
        if disk < 0:
            break
        (plan.memory if memory >= 0 else plan.disk).append(chunk)
        plan.versions.add(chunk.version)
    return plan


def _owned(ring: HashRing, shard_bytes: int, name: str, versions: list[OpenVersion]) -> Iterator[OwnedChunk]:
    mine = ring.nodes.index(name)
    cut = [shards_of(version.manifest, shard_bytes) for version in versions]
    tables = [[owners[shards.of_chunk] for owners in shards.owners(ring)] for shards in cut]
    for place in range(min(ring.replication, len(ring.nodes))):
        for version, owners in zip(versions, tables, strict=True):
            for number in np.flatnonzero(owners[place] == mine).tolist():
                size, told = version.sizes[number], version.manifest.chunks[number]
                mapped = version.code_width > 0
                weight = memory_bytes(size, told.rows, mapped=mapped) + ENTRY_BYTES
                told_by = (version.manifest.collection, version.manifest.version)
                yield OwnedChunk(version.keys[number], size, weight, mapped, told_by)


def _read_ring(path: Path, name: str) -> tuple[RingFile, HashRing]:
    """The file, and the ring that it describes, with the node itself on it: a file may be older than a node."""
    try:
        told = msgspec.json.decode(path.read_bytes(), type=RingFile)
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise InvalidInput("--ring-file", str(path), f"a file with a ring: {error}") from error
    return told, HashRing({*told.nodes, name}, told.virtual_nodes, told.replication)


def _room(layers: tuple[LayerStats, ...], name: str) -> float:
    capacity = next(layer.capacity_bytes for layer in layers if layer.name == name)
    return float("inf") if capacity is None else FILLED * capacity


async def _found(value: Awaitable[object | None]) -> bool:
    return await value is not None


async def _side_by_side(work: Callable[[], Awaitable[None]], count: int) -> None:
    """Run so many of one; the first error ends the others and is raised as it is."""
    tasks = [asyncio.ensure_future(work()) for _ in range(count)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
