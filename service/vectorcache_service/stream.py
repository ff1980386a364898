"""Calls of a server's routes over one WebSocket: for a caller that calls all the time, at a third of the cost.

Every call and every reply is one binary message, a msgpack array. A connection carries many calls at once, and each
is answered when it is done:

    call:  [number, path, request id or nil, request]     what would be the body of ``POST path``
    reply: [number, status, response]                     what would be the body of the answer; a problem from 400 on
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import ClientWebSocketResponse, WSCloseCode, WSMsgType, web

from vectorcache.errors import Unavailable
from vectorcache_service import request_id
from vectorcache_service.codec import decoded
from vectorcache_service.middleware import CALLER_GONE, UNMATCHED, InFlightLimit, Observer, problem_told
from vectorcache_service.routes import Route

HEARTBEAT = 5.0
"""Seconds between the caller's pings; when one has brought nothing, the connection is given up."""

SILENCE = 3 * HEARTBEAT
"""Seconds after which the server takes a caller that sends nothing for gone."""

OK = 200
METHOD = "STREAM"
"""What stands in metrics and logs where an HTTP request has its method."""


class Call(msgspec.Struct, array_like=True, frozen=True):
    """A call as it arrives. Numbers are the caller's; it uses none twice while it waits for the answer."""

    number: int
    path: str
    request_id: str | None
    request: msgspec.Raw


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """A reply as it arrives."""

    number: int
    status: int
    response: msgspec.Raw


encode = msgspec.msgpack.Encoder().encode
decode_reply = msgspec.msgpack.Decoder(Reply).decode
_decode_call = msgspec.msgpack.Decoder(Call).decode

_GOES_ON = (WSMsgType.BINARY, WSMsgType.PING)
_Handler = tuple[Callable[[msgspec.Raw], Any], Callable[[Any], Awaitable[object]]]


class Pulse:
    """Closes a connection that has been silent for too long.

    One timer that looks back: aiohttp's own heartbeat sets its timer anew with every message, which costs as much as
    a fifth of a small call.

    Args:
        connection: to be closed.
        seconds: of silence that are too long.
        ping: whether to ask the other end for a sign of life, once in that time.
    """

    def __init__(
        self, connection: web.WebSocketResponse | ClientWebSocketResponse, seconds: float, *, ping: bool
    ) -> None:
        self._connection = connection
        self._seconds = seconds
        self._ping = ping
        self._heard = True
        self._task = asyncio.create_task(self._watch())

    def beat(self) -> None:
        """Something has come."""
        self._heard = True

    def stop(self) -> None:
        """Look no more."""
        self._task.cancel()

    async def _watch(self) -> None:
        while self._heard:
            self._heard = False
            await asyncio.gather(self._ask(), asyncio.sleep(self._seconds))
        await self._connection.close(code=WSCloseCode.GOING_AWAY)

    async def _ask(self) -> None:
        with suppress(TimeoutError, ConnectionError):  # what cannot be sent will not be answered
            async with asyncio.timeout(self._seconds):
                if self._ping:
                    await self._connection.ping()


class Stream:
    """The endpoint of such connections.

    Args:
        routes: of the server; those that take a body, and nothing from their path, can be called.
        limit: shared with the requests that come by HTTP.
        observer: counts calls, as requests of the method ``STREAM``.
        max_bytes: of one message; a larger one ends its connection.
    """

    def __init__(
        self, routes: Sequence[Route], limit: InFlightLimit, observer: Observer, max_bytes: int
    ) -> None:
        self._handlers: dict[str, _Handler] = {
            route.path: (msgspec.msgpack.Decoder(route.request).decode, route.handler)
            for route in routes
            if route.request is not None and not route.parameters
        }
        self._limit = limit
        self._observer = observer
        self._max_bytes = max_bytes
        self._connections: set[web.WebSocketResponse] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._draining = False

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection until it ends. Calls that run then are cancelled: nobody waits for them."""
        connection = web.WebSocketResponse(
            autoping=False, compress=False, max_msg_size=self._max_bytes, timeout=1.0
        )
        await connection.prepare(request)
        running: set[asyncio.Task[None]] = set()
        self._connections.add(connection)
        pulse = Pulse(connection, SILENCE, ping=False)
        try:
            while (message := await connection.receive()).type in _GOES_ON:
                pulse.beat()
                if message.type is WSMsgType.PING:
                    await connection.pong(message.data)
                    continue
                task = asyncio.create_task(self._answer(connection, message.data))
                running.add(task)
                self._running.add(task)
                task.add_done_callback(running.discard)
                task.add_done_callback(self._running.discard)
        finally:
            pulse.stop()
            self._connections.discard(connection)
            for task in running:
                task.cancel()
            if not connection.closed:
                await connection.close(code=WSCloseCode.UNSUPPORTED_DATA)
        return connection

    async def drain(self, timeout: float) -> None:
        """Take no more calls, let those that run finish for so many seconds, and close all connections."""
        self._draining = True
        if self._running:
            await asyncio.wait(self._running, timeout=timeout)
        closing = (connection.close(code=WSCloseCode.GOING_AWAY) for connection in tuple(self._connections))
        await asyncio.gather(*closing, return_exceptions=True)

    async def _answer(self, connection: web.WebSocketResponse, data: bytes) -> None:
        started = time.perf_counter()
        try:
            call = _decode_call(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            await connection.close(code=WSCloseCode.INVALID_TEXT, message=b"not a call")
            return
        request_id.begin(call.request_id)
        route = call.path if call.path in self._handlers else UNMATCHED
        status = CALLER_GONE
        self._observer.began()
        try:
            status, answer = await self._call(call)
        finally:
            self._observer.ended(route, METHOD, status, time.perf_counter() - started)
        with suppress(ConnectionError):  # a caller that is gone needs no answer
            await connection.send_bytes(encode((call.number, status, answer)))

    async def _call(self, call: Call) -> tuple[int, object]:
        try:
            with self._limit:
                if self._draining:
                    raise Unavailable("shutting down")
                if call.path not in self._handlers:
                    raise Unavailable(f"nothing is called {call.path!r} here")
                decode, handler = self._handlers[call.path]
                return OK, await handler(decoded(decode, call.request))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller hears of it
            told = problem_told(error)
            return told.status, told


STREAM = web.AppKey("stream", Stream)
