"""Calls of a server's routes over a WebSocket, at a third of the cost of HTTP requests, for frequent callers.

Every call and every reply is one binary message, a msgpack array. A connection carries many concurrent calls, and
replies are sent in the order in which the calls complete:

    call:  [number, path, request id or nil, request]     the request is the body of ``POST path``
    reply: [number, status, response]                     the body of the response; a problem if the status is >= 400
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
from vectorcache_service.middleware import CALLER_GONE, UNMATCHED, InFlightLimit, Observer, logged_problem
from vectorcache_service.routes import Route

HEARTBEAT = 5.0
"""Seconds between the caller's pings. If nothing is received in this time, the connection is closed."""

SILENCE = 3 * HEARTBEAT
"""Seconds without a message after which the server closes the connection."""

OK = 200
METHOD = "STREAM"
"""The method of such calls in metrics and logs."""


class Call(msgspec.Struct, array_like=True, frozen=True):
    """A received call. The caller chooses its number, which must be unique among its calls in flight."""

    number: int
    path: str
    request_id: str | None
    request: msgspec.Raw


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """A received reply."""

    number: int
    status: int
    response: msgspec.Raw


encode = msgspec.msgpack.Encoder().encode
decode_reply = msgspec.msgpack.Decoder(Reply).decode
_decode_call = msgspec.msgpack.Decoder(Call).decode

_EXPECTED = (WSMsgType.BINARY, WSMsgType.PING)
_Handler = tuple[Callable[[msgspec.Raw], Any], Callable[[Any], Awaitable[object]]]


class Pulse:
    """A watchdog that closes a connection on which nothing has been received for too long.

    It uses one periodic timer. aiohttp's own heartbeat resets its timer with every message, which costs a fifth of the
    time of a small call.

    Args:
        connection: the connection to watch.
        seconds: the interval in which something must be received.
        ping: whether to send a ping once per interval.
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
        """Record that a message was received."""
        self._heard = True

    def stop(self) -> None:
        """Stop watching the connection."""
        self._task.cancel()

    async def _watch(self) -> None:
        while self._heard:
            self._heard = False
            await asyncio.gather(self._send_ping(), asyncio.sleep(self._seconds))
        await self._connection.close(code=WSCloseCode.GOING_AWAY)

    async def _send_ping(self) -> None:
        with suppress(TimeoutError, ConnectionError):  # without a pong, _watch closes the connection
            async with asyncio.timeout(self._seconds):
                if self._ping:
                    await self._connection.ping()


class Stream:
    """The endpoint of stream connections.

    Args:
        routes: the server's routes; those with a request body and without path parameters can be called.
        limit: the limit on concurrent requests, shared with HTTP requests.
        observer: counts calls as requests with the method ``STREAM``.
        max_bytes: maximum size of a message; a larger one closes its connection.
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
        """Serve one connection until it ends. Calls that are still running are then cancelled."""
        connection = web.WebSocketResponse(
            autoping=False, compress=False, max_msg_size=self._max_bytes, timeout=1.0
        )
        await connection.prepare(request)
        running: set[asyncio.Task[None]] = set()
        self._connections.add(connection)
        pulse = Pulse(connection, SILENCE, ping=False)
        try:
            while (message := await connection.receive()).type in _EXPECTED:
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
        """Refuse new calls, wait up to ``timeout`` seconds for running calls, and close all connections."""
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
            await connection.close(code=WSCloseCode.INVALID_TEXT, message=b"malformed call")
            return
        request_id.begin(call.request_id)
        route = call.path if call.path in self._handlers else UNMATCHED
        status = CALLER_GONE
        self._observer.began()
        try:
            status, answer = await self._call(call)
        finally:
            self._observer.ended(route, METHOD, status, time.perf_counter() - started)
        with suppress(ConnectionError):  # the caller has disconnected
            await connection.send_bytes(encode((call.number, status, answer)))

    async def _call(self, call: Call) -> tuple[int, object]:
        try:
            with self._limit:
                if self._draining:
                    raise Unavailable("shutting down")
                if call.path not in self._handlers:
                    raise Unavailable(f"no route matches {call.path!r}")
                decode, handler = self._handlers[call.path]
                return OK, await handler(decoded(decode, call.request))
        except Exception as error:  # noqa: BLE001 - every error is reported to the caller
            document = logged_problem(error)
            return document.status, document


STREAM = web.AppKey("stream", Stream)
