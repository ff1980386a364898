"""Memory for many blocks of bytes in few large pages.

A search reads thousands of vectors all over the cached chunks. In pages of 4 kB each of them is a miss of the
processor's table of addresses; in pages of 2 MB, which the system gives to large allocations only, the scan takes a
tenth less time.
"""

from __future__ import annotations

import weakref
from bisect import bisect_left
from collections import deque
from threading import Lock

import numpy as np
from numpy.typing import NDArray

REGION_BYTES = 32 << 20
_GRAIN = 64  # bytes: a cache line
_LARGEST_SHARE = 4  # a block of more than a quarter of a region stands alone: it is given large pages anyway


class Slab:
    """Keeps copies of blocks of bytes side by side in regions of 32 MB; what nobody refers to any more is used again.

    The last view of a block gives its place back, in whatever thread that happens. Regions without any block go
    back to the system, but for one. Safe to share between threads.
    """

    def __init__(self, region_bytes: int = REGION_BYTES) -> None:
        self._region_bytes = region_bytes
        self._regions: list[_Region] = []
        # Not under the lock: a finalizer may interrupt whoever holds it.
        self._left: deque[tuple[_Region, int, int]] = deque()
        self._lock = Lock()

    def hold(self, data: bytes) -> memoryview:
        """A copy of the data that begins on a cache line; its place is taken for as long as views of it live."""
        size = -(-len(data) // _GRAIN) * _GRAIN
        if not data or size > self._region_bytes // _LARGEST_SHARE:
            return np.frombuffer(data, dtype=np.uint8).copy().data.toreadonly()
        with self._lock:
            region, start = self._take(size)
        block = region.memory[start : start + len(data)]
        weakref.finalize(block, self._left.append, (region, start, start + size)).atexit = False
        block[:] = np.frombuffer(data, dtype=np.uint8)
        # Not the array itself: views of an array refer to whoever owns its memory, here the region.
        return block.data.toreadonly()

    @property
    def bytes(self) -> int:
        """Of all regions."""
        return len(self._regions) * self._region_bytes

    def _take(self, size: int) -> tuple[_Region, int]:
        self._reclaim()
        for region in self._regions:
            start = region.take(size)
            if start is not None:
                return region, start
        region = _Region(self._region_bytes)
        self._regions.append(region)
        start = region.take(size)
        assert start is not None
        return region, start

    def _reclaim(self) -> None:
        while self._left:
            region, start, stop = self._left.popleft()
            region.give(start, stop)
        unused = [region for region in self._regions if region.is_free]
        for region in unused[1:]:
            self._regions.remove(region)


class _Region:
    """One allocation, and the extents of it that are free: ascending, never side by side."""

    def __init__(self, size: int) -> None:
        raw = np.empty(size + _GRAIN, dtype=np.uint8)  # numpy asks the system for large pages
        shift = -raw.ctypes.data % _GRAIN
        self.memory: NDArray[np.uint8] = raw[shift : shift + size]
        self._starts, self._stops = [0], [size]

    @property
    def is_free(self) -> bool:
        """Whether no block is here."""
        return self._starts == [0] and self._stops == [len(self.memory)]

    def take(self, size: int) -> int | None:
        """Where a block of so many bytes may stand: in the first extent that has room."""
        for at, (start, stop) in enumerate(zip(self._starts, self._stops, strict=True)):
            if stop - start > size:
                self._starts[at] += size
                return start
            if stop - start == size:
                del self._starts[at], self._stops[at]
                return start
        return None

    def give(self, start: int, stop: int) -> None:
        """Take an extent back, and join it with its neighbours."""
        at = bisect_left(self._starts, start)
        if at < len(self._starts) and self._starts[at] == stop:
            stop = self._stops[at]
            del self._starts[at], self._stops[at]
        if at and self._stops[at - 1] == start:
            self._stops[at - 1] = stop
        else:
            self._starts.insert(at, start)
            self._stops.insert(at, stop)
