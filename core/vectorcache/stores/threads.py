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
"""Default number of threads. They keep a disk's queue busy; more would only compete for the interpreter."""


class FileThreads:
    """A pool of ``threads`` threads that runs blocking file calls. Further calls wait."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="files")

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a thread. An ``OSError`` becomes ``Unavailable``.

        If the caller is cancelled, it returns at once, but a call that is running continues.
        """

        def guarded() -> T:
            try:
                return call(*args, **kwargs)
            except VectorCacheError:
                raise  # DeadlineExceeded is a TimeoutError, which is an OSError
            except OSError as error:
                raise Unavailable(f"file system: {error}") from error

        return await asyncio.get_running_loop().run_in_executor(self._executor, guarded)

    async def close(self) -> None:
        """Wait for the running calls, and stop the threads."""
        await asyncio.to_thread(self._executor.shutdown)
