"""A cache made of any number of layers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from vectorcache.concurrency import Flight, KeyLocks, SingleFlight, Tasks
from vectorcache.errors import DeadlineExceeded, InvalidInput, VectorCacheError
from vectorcache.layers.base import CacheLayer, LayerStats
from vectorcache.layers.budget import Budget
from vectorcache.layers.counters import Counters
from vectorcache.layers.tolerant import TolerantLayer

T = TypeVar("T")
V = TypeVar("V")

MAX_LOADS = 32
"""Default bound on the number of concurrent loads."""

MAX_LOAD_BYTES = 256 << 20
"""Default bound on the bytes of concurrent loads: 256 MiB."""

EXPECTED_BYTES = 1 << 20
"""Default for the expected size of a value: 1 MiB."""


@dataclass(frozen=True, slots=True)
class Loaded(Generic[V]):
    """Result of ``get_many``: values and errors by key. A key in neither of the two does not exist."""

    found: dict[str, V]
    failed: dict[str, VectorCacheError]


class NLayerCache(CacheLayer[V], Generic[V]):
    """Cache of layers, fastest first. The last one is the source of truth: a key missing there does not exist.

    A read tries each layer from the top and copies the value into every layer above the one that had it: into the
    first layer before it returns, into the others afterwards. If one of those layers returns a more compact form of
    the value (a mapped file), the first layer gets that form instead. Concurrent reads of a key share one load (see
    ``SingleFlight``). Loads are bounded in number and in expected bytes. A load counts until its last copy is made,
    so slow copies delay new loads instead of piling up.

    A write goes to the source of truth first and then to the layers above. Writes of one key are serialized, and run
    to completion even if the caller is cancelled. Once a write has returned, no layer holds an older value, and no
    load that began before the write can store one.

    An upper layer that raises is skipped, and the error is counted in its ``layer_stats``. Only errors of the source
    of truth reach the caller. If an upper layer fails to store a value, the key is deleted from it, so that it cannot
    serve an older one.

    The cache opens and closes its layers. ``clock`` returns seconds, for the load times.
    """

    def __init__(
        self,
        layers: Sequence[CacheLayer[V]],
        *,
        name: str = "cache",
        max_loads: int = MAX_LOADS,
        max_load_bytes: int = MAX_LOAD_BYTES,
        expected_bytes: int = EXPECTED_BYTES,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not layers:
            raise InvalidInput("layers", layers, "at least one layer")
        if expected_bytes < 0:
            raise InvalidInput("expected_bytes", expected_bytes, "0 or more")
        self._uppers = tuple(TolerantLayer(layer) for layer in layers[:-1])
        self._origin = layers[-1]
        self._first: CacheLayer[V] = self._uppers[0] if self._uppers else self._origin
        self._name = name
        self._expected_bytes = expected_bytes
        self._clock = clock
        self._counters = Counters()
        self._budget = Budget(max_loads, max_load_bytes)
        self._tasks = Tasks()
        self._locks = KeyLocks()
        self._flights: SingleFlight[str, V | None] = SingleFlight(self._load, self._tasks)

    async def open(self) -> None:
        """Open every layer. An error of the source of truth is raised; errors of other layers are only counted."""
        await self._count_errors(self._origin.open())
        for layer in self._uppers:
            await layer.open()

    async def close(self) -> None:
        """Wait for the loads, copies and writes in progress, then close every layer."""
        await self._tasks.drain()
        for layer in self._uppers:
            await layer.close()
        await self._count_errors(self._origin.close())

    def get_cached(self, keys: Iterable[str]) -> dict[str, V]:
        """Return the values that the first layer has available without awaiting, in the order of the keys."""
        found = self._first.get_cached(keys)
        self._counters.hits += len(found)
        return found

    async def get(self, key: str, size: int | None = None) -> V | None:
        """Return the value, or None if no layer has it. ``size`` is its expected size in bytes, to bound the loads.

        Raises:
            VectorCacheError: the source of truth failed; after ``Unavailable`` a retry may succeed.
        """
        value = self.get_cached((key,)).get(key)
        if value is None:
            value = await asyncio.shield(self._flights.join(key, self._expected(size)))
            self._counters.found(value)
        return value

    async def get_many(
        self, keys: Sequence[str], sizes: Sequence[int] | None = None, *, timeout: float | None = None
    ) -> Loaded[V]:
        """Return many values. Those available without awaiting need no task; the others are loaded concurrently.

        A key that fails does not fail the others. ``sizes`` are the expected sizes of the values in bytes. A key that
        is not loaded after ``timeout`` seconds fails with ``DeadlineExceeded``, but its load continues.
        """
        if sizes is not None and len(sizes) != len(keys):
            raise InvalidInput("sizes", sizes, f"{len(keys)} sizes, one per key")
        found = self.get_cached(keys)
        if len(found) == len(keys):
            return Loaded(found, {})
        expected: Sequence[int | None] = [None] * len(keys) if sizes is None else sizes
        missing = {key: size for key, size in zip(keys, expected, strict=True) if key not in found}
        if not missing:  # a key was given twice
            return Loaded(found, {})
        failed = await self._load_many(missing, found, timeout)
        return Loaded(found, failed)

    async def put(self, key: str, value: V) -> V:
        """Write a value to the source of truth, then to every layer above.

        Raises:
            VectorCacheError: the source of truth failed. It may or may not have stored the value, so the key is
                deleted from the layers above.
        """
        await self._tasks.complete(self._write(key, lambda layer: layer.put(key, value)))
        return value

    async def delete(self, key: str) -> bool:
        """Delete a key from every layer. Return whether one had it.

        Raises:
            VectorCacheError: the source of truth failed, and may or may not have the key. The layers above no longer
                have it.
        """
        return any(await self._tasks.complete(self._write(key, lambda layer: layer.delete(key))))

    async def fill(self, key: str, size: int, depth: int) -> bool:
        """Copy a value from the source of truth into the upper layer at ``depth`` only. Return whether it is there.

        This does not join the loads of the same key, so values must be immutable. It counts against the bounds on
        loads.

        Raises:
            VectorCacheError: the source of truth failed.
        """
        layer = self._uppers[depth]
        if await layer.contains(key):
            return True
        async with self._budget.reserve(size):
            value = await self._count_errors(self._origin.get(key))
            if value is not None:
                await layer.put(key, value)
        return await layer.contains(key)

    async def discard(self, key: str, damaged: V) -> None:
        """Drop a damaged value from every layer above the source of truth, and count it as corrupt."""
        await self._tasks.complete(self._discard(key, damaged))

    async def contains(self, key: str) -> bool:
        """Return whether a layer has the key now."""
        for layer in self._uppers:
            if await layer.contains(key):
                return True
        return await self._count_errors(self._origin.contains(key))

    def stats(self) -> LayerStats:
        """Return the counters of the whole cache. ``errors`` are those of the source of truth."""
        return self._counters.stats(self._name)

    def layer_stats(self) -> tuple[LayerStats, ...]:
        """Return the counters of each layer, fastest first, including the errors that were skipped."""
        origin = self._origin.stats()
        last = replace(
            origin,
            errors=origin.errors + self._counters.errors,
            corrupt=origin.corrupt + self._counters.corrupt,
        )
        return (*(layer.stats() for layer in self._uppers), last)

    def _expected(self, size: int | None) -> int:
        if size is None:
            return self._expected_bytes
        if size < 0:
            raise InvalidInput("size", size, "0 or more bytes")
        return size

    async def _load_many(
        self, missing: Mapping[str, int | None], found: dict[str, V], timeout: float | None
    ) -> dict[str, VectorCacheError]:
        answers = {key: self._flights.join(key, self._expected(size)) for key, size in missing.items()}
        await asyncio.wait(answers.values(), timeout=timeout)
        failed: dict[str, VectorCacheError] = {}
        for key, answer in answers.items():
            if not answer.done():
                failed[key] = DeadlineExceeded(f"{key!r} was not loaded within {timeout:g} s")
                continue
            try:
                value = answer.result()
            except VectorCacheError as error:
                failed[key] = error
                continue
            self._counters.found(value)
            if value is not None:
                found[key] = value
        return failed

    async def _load(self, key: str, size: int, flight: Flight[V | None]) -> None:
        start = self._clock()
        async with self._budget.reserve(size):
            depth, value = await self._find(key)
            above = self._uppers[:depth]
            await self._copy(key, value, above[:1], flight)
            self._counters.waited(self._clock() - start)
            flight.answer.set_result(value)
            kept = await self._copy(key, value, above[1:], flight)
            if kept is not value:
                await self._copy(key, kept, above[:1], flight)

    async def _find(self, key: str) -> tuple[int, V | None]:
        """Return the value and the depth of the layer that has it.

        This looks into the first layer again, although the caller has just missed there:

        1. Reader A misses in the first layer.
        2. The load of reader B, which is in flight for the same key, copies the value into the first layer and ends.
        3. A finds no flight to join and starts a new one.

        Without the second look A would read the blob store for a value that is in memory.
        """
        for depth, layer in enumerate(self._uppers):
            value = await layer.get(key)
            if value is not None:
                return depth, value
        return len(self._uppers), await self._count_errors(self._origin.get(key))

    async def _copy(
        self, key: str, value: V | None, layers: Iterable[CacheLayer[V]], flight: Flight[V | None]
    ) -> V | None:
        """Put a value into layers. Return the form of the value that the last of them holds."""
        for layer in layers:
            lock = self._locks[key]
            if value is None or lock.locked():  # a write holds the lock and will invalidate this flight
                break
            async with lock:
                if not flight.invalidated:
                    value = await layer.put(key, value)
        return value

    async def _write(self, key: str, step: Callable[[CacheLayer[V]], Awaitable[T]]) -> list[T]:
        """Apply a step to the source of truth, then to the layers above from the lowest up.

        The order ensures that no reader sees a new value and later an older one. A load that is in flight may have
        read the old value:

        1. If it copies before this takes the lock, the steps below overwrite its copy.
        2. If it tries to copy while this holds the lock, it skips the copy (see ``_copy``).
        3. If it copies after this has released the lock, ``invalidate`` has marked it, and it skips the copy.
        """
        async with self._locks[key]:
            try:
                results = [await self._count_errors(step(self._origin))]
                results += [await step(layer) for layer in reversed(self._uppers)]
            except Exception:
                for layer in self._uppers:
                    await layer.delete(key)
                raise
            finally:
                self._flights.invalidate(key)
            return results

    async def _discard(self, key: str, damaged: V) -> None:
        async with self._locks[key]:
            present = self._first.get_cached((key,)).get(key)
            if present is not None and present is not damaged:
                return  # another caller has discarded it, and a good copy was loaded
            self._counters.corrupt += 1
            for layer in self._uppers:
                await layer.delete(key)
            self._flights.invalidate(key)

    async def _count_errors(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except Exception:
            self._counters.errors += 1
            raise
