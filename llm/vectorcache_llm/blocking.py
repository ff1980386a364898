"""Synchronous wrappers of the asynchronous objects, for programs without an event loop."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Self

from vectorcache_client.loop_thread import LoopThread
from vectorcache_llm.managed import ManagedCache


class Sync:
    """A blocking wrapper of an object, with the same methods, results and errors. It is thread-safe.

        with sync(open_caches(load())) as caches:
            caches.response.put(Request("2 + 2?"), Reply("4"))

    Async iterators become iterators, and caches that are attributes (``caches.response``) are wrapped too. Functions
    passed as arguments, such as one that calls a model, run on the event loop. They may be synchronous only if the
    asynchronous method accepts synchronous functions.
    """

    def __init__(
        self, wrapped: Any, thread: LoopThread, finish: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._wrapped = wrapped
        self._thread = thread
        self._finish = finish or wrapped.close

    def close(self) -> None:
        """Close the object (for a cache, its manager), and stop the thread; a second call does nothing."""
        self._thread.close(self._finish)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._wrapped, name)
        if isinstance(value, ManagedCache):
            return Sync(value, self._thread, self._finish)
        return self._blocking(value) if inspect.isroutine(value) else value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _blocking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._result(method(*args, **kwargs))

        return call

    def _result(self, value: Any) -> Any:
        if inspect.isawaitable(value):
            return self._thread.wait(value if inspect.iscoroutine(value) else _awaited(value))
        return self._items(value) if isinstance(value, AsyncIterator) else value

    def _items(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        """Yield the items, fetched one at a time. The generator is closed if the iteration ends early."""
        try:
            while (item := self._thread.wait(_next(items))) is not _END:
                yield item
        finally:
            if inspect.isasyncgen(items):
                self._thread.wait(items.aclose())


_END = object()


def sync(wrapped: Any) -> Sync:
    """Open an asynchronous object (a manager, a cache, a store, ...) on an event loop in a separate thread.

    Args:
        wrapped: the object, or a coroutine that returns it, such as ``open_caches(...)``.

    Raises:
        VectorCacheError: raised by ``open`` or by the coroutine.
    """
    thread = LoopThread("the cache")
    try:
        made = thread.wait(wrapped) if inspect.iscoroutine(wrapped) else wrapped
        thread.wait(made.open())
    except BaseException:
        thread.close(_nothing)
        raise
    return Sync(made, thread)


async def _nothing() -> None:
    """Do nothing: an object that failed to open has nothing to close."""


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


async def _next(items: AsyncIterator[Any]) -> Any:
    return await anext(items, _END)
