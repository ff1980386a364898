"""A bounded pool of threads for blocking calls to a file system."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from vectorcache.errors import Unavailable, VectorCacheError

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_THREADS = 8
"""Enough to keep a disk's queue busy; more only compete for the interpreter."""


class FileThreads:
    """Runs blocking file calls off the event loop, at most ``threads`` at once; others wait."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="files")

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call in a thread; an error of the operating system becomes ``Unavailable``.

        A caller that is cancelled does not wait on; the call itself ends undisturbed.
        """

        def guarded() -> T:
            try:
                return call(*args, **kwargs)
            except VectorCacheError:
                raise  # DeadlineExceeded is a TimeoutError, and that is an OSError
            except OSError as error:
                raise Unavailable(f"file system: {error}") from error

        return await asyncio.get_running_loop().run_in_executor(self._executor, guarded)

    async def close(self) -> None:
        """Wait for the calls that run, and end the threads."""
        await asyncio.to_thread(self._executor.shutdown)
