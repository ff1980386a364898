"""An event loop in a background thread, for synchronous programs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError
from threading import Lock, Thread, current_thread
from typing import Any, TypeVar

from vectorcache.errors import InvalidInput, Unavailable

T = TypeVar("T")


class LoopThread:
    """A background event loop that runs coroutines for any number of blocking threads.

    Args:
        name: name of the thread, also used in error messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._lock = Lock()
        self._calls: set[asyncio.Task[Any]] = set()
        self._thread.start()

    def wait(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return its result.

        Raises:
            Unavailable: the loop was closed before or during the call.
            InvalidInput: the call comes from the loop's own thread, which would deadlock.
        """
        if current_thread() is self._thread:
            call.close()
            raise InvalidInput(
                "thread", self._name, "a call from another thread; use the asynchronous API in this one"
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
            future.cancel()  # an interrupted wait must not leave the coroutine running
            raise

    def close(self, finish: Callable[[], Awaitable[None]]) -> None:
        """Cancel running calls, run ``finish``, and end the thread. A second call does nothing.

        Background tasks keep running while ``finish`` runs, so that it can wait for them, and are then cancelled.
        """
        with self._lock:  # no call may be submitted to a loop that is about to stop: it would wait forever
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
