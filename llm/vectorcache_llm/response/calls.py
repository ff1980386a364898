"""Wrappers that put the cache in front of a call or a function, without explicit requests and replies."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from contextvars import copy_context
from functools import partial, wraps
from threading import Thread
from typing import Any, TypeVar

from vectorcache.errors import InvalidInput
from vectorcache_llm.response.cache import Call, ResponseCache
from vectorcache_llm.response.reply import Chunk, Reply
from vectorcache_llm.response.request import Request
from vectorcache_llm.scope import EVERYBODY, Scope

F = TypeVar("F", bound=Callable[..., Any])

NOT_ASKED = frozenset({"self", "cls"})
"""Arguments that are not part of the request."""


async def cached_llm_call(
    messages: str | Sequence[Any],
    call: Call,
    *,
    cache: ResponseCache,
    model: str = "",
    parameters: Mapping[str, Any] | None = None,
    tools: Sequence[Any] = (),
    scope: Scope = EVERYBODY,
    ttl: float | None = None,
    tags: Iterable[str] = (),
) -> Reply:
    """Return the reply to messages from the cache, or from ``call``, which receives the ``Request``.

    Raises:
        InvalidInput: the messages are invalid, or ``call`` did not return a reply.
        Exception: whatever ``call`` raises.
    """
    request = Request(messages, model, parameters, tools)
    answer = await cache.get_or_call(request, call, scope, ttl=ttl, tags=tags)
    return answer.reply


def cached(
    cache: ResponseCache,
    *,
    model: str = "",
    scope: Scope | Callable[..., Scope] = EVERYBODY,
    returns: type[str] | type[dict[str, Any]] | type[Reply] = str,
    ignore: Collection[str] = (),
    ttl: float | None = None,
    tags: Iterable[str] = (),
) -> Callable[[F], F]:
    """Decorate a function that calls a model, so that the cache answers first.

    The argument ``messages`` or ``prompt`` holds the messages of the request, ``model`` and ``tools`` its model and
    tools. All other arguments are parameters of the request, except those in ``ignore``. An ``async def`` remains one,
    and an async generator streams. A plain function blocks its caller: call it from any thread except that of the
    event loop on which the cache was opened. Its body runs in a separate thread.

    Args:
        cache: must be open before the first call.
        model: name of the model, if the function has no argument of this name.
        scope: scope of the replies, or a function that returns it for the same arguments.
        returns: type of the value that the function returns or yields, and that a hit returns: ``str``; ``dict``, for
            a chat completion or its events; ``Reply``, or ``Chunk`` from a generator.
        ignore: arguments that do not affect the reply, such as a client.
        ttl: lifetime in seconds, instead of the cache's.
        tags: tags for invalidation.

    Raises:
        InvalidInput: the function has neither ``messages`` nor ``prompt``, or is a plain generator.
    """
    if returns not in (str, dict, Reply):
        raise InvalidInput("returns", returns, "str, dict or Reply")

    def decorate(function: F) -> F:
        reader = _RequestReader(function, model, scope, NOT_ASKED | set(ignore))
        settings = {"ttl": ttl, "tags": frozenset(tags)}
        if inspect.isasyncgenfunction(function):
            return _stream(cache, function, reader, returns, settings)  # type: ignore[return-value]
        if inspect.isgeneratorfunction(function):
            raise InvalidInput("function", function, "a function, or an async function or generator")
        if inspect.iscoroutinefunction(function):
            return _async(cache, function, reader, returns, settings)  # type: ignore[return-value]
        return _plain(cache, function, reader, returns, settings)  # type: ignore[return-value]

    return decorate


class _RequestReader:
    """Makes the request and the scope from a function's arguments."""

    def __init__(
        self, function: Callable[..., Any], model: str, scope: Any, ignored: Collection[str]
    ) -> None:
        self._signature = inspect.signature(function)
        self._model = model
        self._scope = scope
        self._ignored = ignored
        named = [name for name in ("messages", "prompt") if name in self._signature.parameters]
        if not named:
            raise InvalidInput("function", function, "a function with an argument messages or prompt")
        self._messages = named[0]

    def __call__(self, *arguments: Any, **named: Any) -> tuple[Request, Scope]:
        scope = self._scope(*arguments, **named) if callable(self._scope) else self._scope
        bound = self._signature.bind(*arguments, **named)
        bound.apply_defaults()
        given: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if self._signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                given |= value
            else:
                given[name] = value
        messages = given.pop(self._messages)
        model = given.pop("model", None) or self._model
        tools = given.pop("tools", None) or ()
        parameters = {name: value for name, value in given.items() if name not in self._ignored}
        return Request(messages, model, parameters, tools), scope


def _async(
    cache: ResponseCache,
    function: Callable[..., Awaitable[Any]],
    reader: _RequestReader,
    returns: Any,
    settings: Any,
) -> Callable[..., Awaitable[Any]]:
    @wraps(function)
    async def wrapped(*arguments: Any, **named: Any) -> Any:
        request, scope = reader(*arguments, **named)
        answer = await cache.get_or_call(request, lambda _: function(*arguments, **named), scope, **settings)
        return _result(answer.reply, returns)

    return wrapped


def _plain(
    cache: ResponseCache, function: Callable[..., Any], reader: _RequestReader, returns: Any, settings: Any
) -> Callable[..., Any]:
    @wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        request, scope = reader(*arguments, **named)
        work = partial(function, *arguments, **named)
        calling = cache.get_or_call(request, lambda _: _in_own_thread(work), scope, **settings)
        return _result(_wait(cache, calling).reply, returns)

    return wrapped


async def _in_own_thread(work: Callable[[], Any]) -> Any:
    """Run ``work`` in a new thread. The event loop's pool may be full of callers that wait for this result."""
    result: Future[Any] = Future()
    context = copy_context()

    def run() -> None:
        try:
            result.set_result(context.run(work))
        except BaseException as error:  # noqa: BLE001 - raised again in the callers
            result.set_exception(error)

    Thread(target=run, name="vectorcache-cached-call", daemon=True).start()
    return await asyncio.wrap_future(result)


def _wait(cache: ResponseCache, work: Any) -> Any:
    """Run ``work`` on the cache's event loop and block this thread until it has ended."""
    loop = cache.loop
    if loop is None or _runs_here(loop):
        work.close()
        raise InvalidInput(
            "cached function",
            "called before the cache was opened" if loop is None else "called on the cache's event loop",
            "a call from another thread, while the cache is open; or an async function",
        )
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()  # for an interrupted wait; has no effect if the work has ended
        raise


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _stream(
    cache: ResponseCache,
    function: Callable[..., AsyncGenerator[Any, None]],
    reader: _RequestReader,
    returns: Any,
    settings: Any,
) -> Callable[..., AsyncGenerator[Any, None]]:
    @wraps(function)
    async def wrapped(*arguments: Any, **named: Any) -> AsyncGenerator[Any, None]:
        request, scope = reader(*arguments, **named)
        stream = cache.stream(request, lambda _: function(*arguments, **named), scope, **settings)
        async with aclosing(stream) as chunks:
            async for chunk in chunks:
                yield _piece(chunk, returns)

    return wrapped


def _result(reply: Reply, returns: Any) -> Any:
    if returns is Reply:
        return reply
    return reply.text if returns is str else reply.completion()


def _piece(chunk: Chunk, returns: Any) -> Any:
    if returns is Reply:
        return chunk
    return chunk.text if returns is str else chunk.event()
