"""An event loop in a thread of its own, for programs that have none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError
from threading import Lock, Thread, current_thread
from typing import Any, TypeVar

from vectorcache.errors import InvalidInput, Unavailable

T = TypeVar("T")


class LoopThread:
    """Runs coroutines of any number of threads, which wait for them.

    Args:
        name: of the thread, and of what is closed in messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._lock = Lock()
        self._calls: set[asyncio.Task[Any]] = set()
        self._thread.start()

    def wait(self, call: Coroutine[Any, Any, T]) -> T:
        """The answer of a coroutine.

        Raises:
            Unavailable: this was closed, before the call or during it.
            InvalidInput: it is called on this very thread, which would wait for itself.
        """
        if current_thread() is self._thread:
            call.close()
            raise InvalidInput(
                "thread", self._name, "a call from another thread; here, the asynchronous face"
            )
        with self._lock:
            if self._loop.is_closed():
                call.close()
                raise Unavailable(f"{self._name} is closed")
            future = asyncio.run_coroutine_threadsafe(self._run(call), self._loop)
        try:
            return future.result()
        except CancelledError as error:
            raise Unavailable(f"{self._name} was closed during the call") from error
        except BaseException:
            future.cancel()  # an interrupted wait leaves nothing behind; one that failed is over anyway
            raise

    def close(self, finish: Callable[[], Awaitable[None]]) -> None:
        """Give up calls that are under way, run ``finish``, end the thread; a second call does nothing.

        What runs in the background is left to ``finish``, which may want to wait for it, and given up after that.
        """
        with self._lock:  # nobody hands a call to a loop that is about to end, and then waits for ever
            if self._loop.is_closed():
                return
            try:
                asyncio.run_coroutine_threadsafe(self._shut_down(finish), self._loop).result()
            finally:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
                self._loop.close()

    async def _run(self, call: Coroutine[Any, Any, T]) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)
        try:
            return await call
        finally:
            self._calls.discard(task)

    async def _shut_down(self, finish: Callable[[], Awaitable[None]]) -> None:
        await _cancel(self._calls)
        try:
            await finish()
        finally:
            await _cancel(asyncio.all_tasks())


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    others = [task for task in tasks if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
