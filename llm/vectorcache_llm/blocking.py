"""The synchronous face: any of the asynchronous objects, for programs without an event loop."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Self

from vectorcache_client.loop_thread import LoopThread
from vectorcache_llm.managed import ManagedCache


class Sync:
    """An object whose calls wait: the same names, arguments, answers and errors. Any number of threads may share it.

        with sync(open_caches(load())) as caches:
            caches.response.put(Request("2 + 2?"), Reply("4"))

    What is an async iterator there is an iterator here; a cache that is an attribute there (``caches.response``) is
    synchronous here, too. Callables that are given along, such as one that calls a model, run on the event loop and
    may be plain functions only where the asynchronous method takes these.
    """

    def __init__(
        self, wrapped: Any, thread: LoopThread, finish: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._wrapped = wrapped
        self._thread = thread
        self._finish = finish or wrapped.close

    def close(self) -> None:
        """Close the object, a cache's whole manager with it, and end the thread; a second call does nothing."""
        self._thread.close(self._finish)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._wrapped, name)
        if isinstance(value, ManagedCache):
            return Sync(value, self._thread, self._finish)
        return self._waiting(value) if inspect.isroutine(value) else value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _waiting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._answer(method(*args, **kwargs))

        return call

    def _answer(self, value: Any) -> Any:
        if inspect.isawaitable(value):
            return self._thread.wait(value if inspect.iscoroutine(value) else _awaited(value))
        return self._items(value) if isinstance(value, AsyncIterator) else value

    def _items(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        """The items, fetched one by one; an iteration that is left early is ended properly."""
        try:
            while (item := self._thread.wait(_next(items))) is not _END:
                yield item
        finally:
            if inspect.isasyncgen(items):
                self._thread.wait(items.aclose())


_END = object()


def sync(wrapped: Any) -> Sync:
    """Open an asynchronous object (a manager, a cache, a store, ...) on an event loop in a thread of its own.

    Args:
        wrapped: the object, or a coroutine that makes it, such as ``open_caches(...)``.

    Raises:
        VectorCacheError: as its ``open``, or the coroutine.
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
    """There is nothing to close: what did not open has nothing."""


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


async def _next(items: AsyncIterator[Any]) -> Any:
    return await anext(items, _END)
