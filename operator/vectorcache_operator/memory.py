"""Return freed memory to the operating system."""

from __future__ import annotations

import asyncio
import ctypes

TRIM_SECONDS = 20.0


async def trim_periodically() -> None:
    """Return freed memory to the operating system periodically, if the C library supports it (glibc).

    The allocator would keep the memory of lists and bursts of work for the next burst, which may be hours away.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while True:
        await asyncio.sleep(TRIM_SECONDS)
        if trim is not None:
            trim(0)
