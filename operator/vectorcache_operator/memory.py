"""What the process holds of memory that it no longer uses."""

from __future__ import annotations

import asyncio
import ctypes

TRIM_SECONDS = 20.0


async def keep_trimmed() -> None:
    """Give back, every now and then, what listings and bursts of work needed; where the C library can (glibc).

    An allocator keeps freed memory for the next burst, which for an operator may be hours away.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while True:
        await asyncio.sleep(TRIM_SECONDS)
        if trim is not None:
            trim(0)
