"""Memory for many blocks of bytes in few large pages.

A search reads thousands of vectors that are spread over the cached chunks. In pages of 4 kB each read is a TLB miss. In
pages of 2 MB, which the system uses only for large allocations, the scan takes a tenth less time.
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
_LARGEST_SHARE = 4  # larger blocks, of more than a quarter of a region, are allocated alone in large pages


class Slab:
    """Storage of copies of byte blocks, next to each other in regions of 32 MB. Free space is reused.

    The space of a block is freed with its last view, in any thread. Empty regions are returned to the system, except
    one. Safe to share between threads.
    """

    def __init__(self, region_bytes: int = REGION_BYTES) -> None:
        self._region_bytes = region_bytes
        self._regions: list[_Region] = []
        # Not protected by the lock, because a finalizer may interrupt the thread that holds it.
        self._freed: deque[tuple[_Region, int, int]] = deque()
        self._lock = Lock()

    def hold(self, data: bytes) -> memoryview:
        """Return a copy of the data that begins on a cache line. Its space is in use as long as views of it exist."""
        size = -(-len(data) // _GRAIN) * _GRAIN
        if not data or size > self._region_bytes // _LARGEST_SHARE:
            return np.frombuffer(data, dtype=np.uint8).copy().data.toreadonly()
        with self._lock:
            region, start = self._take(size)
        block = region.memory[start : start + len(data)]
        weakref.finalize(block, self._freed.append, (region, start, start + size)).atexit = False
        block[:] = np.frombuffer(data, dtype=np.uint8)
        # Not the array itself: views of an array refer to the owner of its memory (the region), not to the array.
        return block.data.toreadonly()

    @property
    def bytes(self) -> int:
        """Bytes of all regions."""
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
        while self._freed:
            region, start, stop = self._freed.popleft()
            region.give(start, stop)
        unused = [region for region in self._regions if region.is_free]
        for region in unused[1:]:
            self._regions.remove(region)


class _Region:
    """One allocation, and its free extents: ascending and never adjacent."""

    def __init__(self, size: int) -> None:
        raw = np.empty(size + _GRAIN, dtype=np.uint8)  # numpy requests large pages from the system
        shift = -raw.ctypes.data % _GRAIN
        self.memory: NDArray[np.uint8] = raw[shift : shift + size]
        self._starts, self._stops = [0], [size]

    @property
    def is_free(self) -> bool:
        """Whether the region has no block."""
        return self._starts == [0] and self._stops == [len(self.memory)]

    def take(self, size: int) -> int | None:
        """Take ``size`` bytes from the first extent that has room, and return their begin, or None."""
        for at, (start, stop) in enumerate(zip(self._starts, self._stops, strict=True)):
            if stop - start > size:
                self._starts[at] += size
                return start
            if stop - start == size:
                del self._starts[at], self._stops[at]
                return start
        return None

    def give(self, start: int, stop: int) -> None:
        """Free an extent, and join it with adjacent free ones."""
        at = bisect_left(self._starts, start)
        if at < len(self._starts) and self._starts[at] == stop:
            stop = self._stops[at]
            del self._starts[at], self._stops[at]
        if at and self._stops[at - 1] == start:
            self._stops[at - 1] = stop
        else:
            self._starts.insert(at, start)
            self._stops.insert(at, stop)
