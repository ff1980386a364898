"""Warm-up of a node at its start: the chunks that it owns are loaded into its cache before it gets searches.

A node needs no other server for this: the ring is computed from the node names in a file, and the chunks are listed in
the manifests. Failures and timeouts are logged, and the node becomes ready in any case, because searches load the
chunks that are missing.
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
"""Fraction of a layer's capacity that is filled, because sizes in manifests differ slightly from those in a cache."""

DISK = 1
"""Depth of the disk layer in a node's cache."""


class RingFile(msgspec.Struct, frozen=True):
    """The content of a ring file: the desired nodes and the settings of their ring."""

    nodes: list[str]
    virtual_nodes: int = 10_000
    replication: int = 1
    shard_bytes: int = SHARD_BYTES


@dataclass(frozen=True, slots=True)
class OwnedChunk:
    """A chunk to load.

    Attributes:
        key, size: key and size in bytes of its blob.
        weight: approximate size in memory in bytes.
        mapped: whether its file on disk is memory-mapped.
        version: collection and version that it belongs to.
    """

    key: str
    size: int
    weight: int
    mapped: bool
    version: tuple[str, int]


@dataclass(slots=True)
class Plan:
    """The chunks to load, in order.

    Attributes:
        memory: chunks to load into memory and to disk.
        disk: chunks to load to disk only, because memory has no room for them.
        versions: collections and versions that the chunks belong to.
    """

    memory: list[OwnedChunk] = field(default_factory=list)
    disk: list[OwnedChunk] = field(default_factory=list)
    versions: set[tuple[str, int]] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.memory) + len(self.disk)


class WarmUp:
    """The warm-up of one node.

    Attributes:
        planned: number of chunks to load, or None while it is not known.
        loaded: number of chunks loaded so far.
        seconds: duration of the warm-up, or the time since its start while it runs.
        done: whether the warm-up has ended, so that the node can get searches.
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
        """Return the warm-up that the settings of a node define."""
        path = Path(settings.ring_file)
        return cls(node, path, timeout=settings.warmup_timeout, workers=settings.max_loads)

    @property
    def seconds(self) -> float:
        """Duration in seconds, see the class."""
        return self._clock() - self._began if self._took is None else self._took

    async def unready(self) -> list[str]:
        """Return the reasons why the node is not ready: empty after the warm-up."""
        if self.done:
            return []
        if self.planned is None:
            return ["warming up: listing the chunks to load"]
        return [f"warming up: {self.loaded} of {self.planned} chunks loaded"]

    async def run(self) -> None:
        """Load chunks until all are loaded or the timeout expires. The node is then ready, even after a failure."""
        outcome = "complete"
        try:
            async with asyncio.timeout(self._timeout):
                await self._load(await self._plan())
        except TimeoutError:
            outcome = "timed out"
        except VectorCacheError as error:
            outcome = str(error)
        except Exception:  # noqa: BLE001 - a cold node is better than one that never becomes ready
            outcome = "failed"
            self._log.exception("warm-up failed")
        finally:
            self._took, self.done = self.seconds, True
        self._log.info(
            "warm-up ended",
            outcome=outcome,
            loaded=self.loaded,
            planned=self.planned,
            seconds=round(self._took, 3),
        )

    async def _plan(self) -> Plan:
        settings, ring = await asyncio.to_thread(_read_ring, self._ring_file, self._node.name)
        catalog = Catalog(self._node.blobs)
        versions = []
        for name in await catalog.collections():
            try:
                versions.append(await self._node.versions.open(name, await catalog.current(name)))
            except (NotFound, CorruptData) as error:
                self._log.warning("could not warm collection", collection=name, error=str(error))
        memory, disk = _room(self._node.layers(), "memory"), _room(self._node.layers(), "disk")
        plan = await asyncio.to_thread(
            plan_of, ring, settings.shard_bytes, self._node.name, versions, memory, disk
        )
        for collection, version in plan.versions:
            self._node.keeper.searched(collection, version)
        self.planned = len(plan)
        return plan

    async def _load(self, plan: Plan) -> None:
        storage = self._node.storage

        async def warm(chunk: OwnedChunk) -> bool:
            if chunk.mapped:  # first to disk, so that the whole chunk is never held in memory
                await storage.fill(chunk.key, chunk.size, DISK)
            return await _found(storage.get(chunk.key, chunk.size))

        await self._all(plan.memory, warm)
        await self._all(plan.disk, lambda chunk: storage.fill(chunk.key, chunk.size, DISK))

    async def _all(self, chunks: list[OwnedChunk], load: Callable[[OwnedChunk], Awaitable[bool]]) -> None:
        """Load chunks in the given order with concurrent workers. An unavailable store ends the warm-up."""
        remaining = iter(chunks)

        async def work() -> None:
            for chunk in remaining:
                try:
                    is_loaded = await load(chunk)
                    self.loaded += (
                        is_loaded  # not in one expression with await: other workers update it meanwhile
                    )
                except (CorruptData, NotFound) as error:
                    self._log.warning("could not warm chunk", key=chunk.key, error=str(error))

        await _run_workers(work, self._workers)


@asynccontextmanager
async def warming(warm_up: WarmUp) -> AsyncIterator[None]:
    """Run a warm-up in the background of the block. It is cancelled at the end of the block."""
    task = asyncio.create_task(warm_up.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def plan_of(
    ring: HashRing, shard_bytes: int, name: str, versions: list[OpenVersion], memory: float, disk: float
) -> Plan:
    """Return the chunks that a node should load, those first that it owns as the first replica, then as the second.

    ``memory`` and ``disk`` are the available bytes. Chunks in memory are stored on disk as well.
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
    index = ring.nodes.index(name)
    shards_by_version = [shards_of(version.manifest, shard_bytes) for version in versions]
    tables = [[owners[shards.of_chunk] for owners in shards.owners(ring)] for shards in shards_by_version]
    for place in range(min(ring.replication, len(ring.nodes))):
        for version, owners in zip(versions, tables, strict=True):
            for number in np.flatnonzero(owners[place] == index).tolist():
                size, rows = version.sizes[number], version.manifest.chunks[number].rows
                mapped = version.code_width > 0
                weight = memory_bytes(size, rows, mapped=mapped) + ENTRY_BYTES
                key = (version.manifest.collection, version.manifest.version)
                yield OwnedChunk(version.keys[number], size, weight, mapped, key)


def _read_ring(path: Path, name: str) -> tuple[RingFile, HashRing]:
    """Return the file and its ring. The node is added to the ring, because the file may be older than the node."""
    try:
        file = msgspec.json.decode(path.read_bytes(), type=RingFile)
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise InvalidInput("--ring-file", str(path), f"a file that describes a ring ({error})") from error
    return file, HashRing({*file.nodes, name}, file.virtual_nodes, file.replication)


def _room(layers: tuple[LayerStats, ...], name: str) -> float:
    capacity = next(layer.capacity_bytes for layer in layers if layer.name == name)
    return float("inf") if capacity is None else FILLED * capacity


async def _found(value: Awaitable[object | None]) -> bool:
    return await value is not None


async def _run_workers(work: Callable[[], Awaitable[None]], count: int) -> None:
    """Run ``count`` workers concurrently. The first error cancels the others and is raised."""
    tasks = [asyncio.ensure_future(work()) for _ in range(count)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
