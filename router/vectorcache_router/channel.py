"""The client side of a node's stream: concurrent calls over one connection, which is opened on demand.

See ``vectorcache_service.stream`` for the protocol.
"""

from __future__ import annotations

import asyncio
from itertools import count

import aiohttp
import msgspec

from vectorcache.errors import Unavailable
from vectorcache_service import request_id
from vectorcache_service.stream import HEARTBEAT, Pulse, Reply, decode_reply, encode

CONNECT_SECONDS = 1.0
MAX_REPLY = 256 * 2**20
"""Maximum size of a reply in bytes. A larger one closes the connection."""

_CLOSING = aiohttp.ClientWSTimeout(ws_close=1.0)
_EXPECTED = (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.PONG)
_BROKEN = "the connection was lost"


class Channel:
    """Calls to one server. If the connection is lost, its calls fail, and the next call opens a new connection.

    Args:
        url: URL of the stream.
        session: opens the connection. Closing the session closes the connection too.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None
        self._closed = False

    async def call(self, path: str, request: msgspec.Struct, timeout: float) -> Reply:
        """Make a call and return its reply.

        Raises:
            Unavailable: the connection could not be opened, or was lost.
            TimeoutError: the reply did not arrive within ``timeout`` seconds.
        """
        connection = self._connection
        if connection is None or connection.broken or self._closed:
            async with asyncio.timeout(timeout):
                connection = await self._connected()
        return await connection.call(path, request, timeout)

    async def close(self) -> None:
        """Refuse new calls, wait for the running ones, which all have deadlines, and close the connection."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait((self._connecting,))
        if self._connection is not None:
            await self._connection.close()

    async def _connected(self) -> _Connection:
        """Open a new connection, shared by all concurrent callers, and return it."""
        if self._closed:
            raise Unavailable("the channel was closed")
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
        connecting = self._connecting
        await asyncio.wait((connecting,))  # a cancelled caller must not cancel the shared task
        if connecting.cancelled():
            raise Unavailable("the channel was closed")
        return connecting.result()

    async def _connect(self) -> _Connection:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                socket = await self._session.ws_connect(
                    self._url, autoping=False, compress=0, max_msg_size=MAX_REPLY, timeout=_CLOSING
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"connection failed: {type(error).__name__}") from error
        self._connection = _Connection(socket)
        return self._connection


class _Connection:
    """A WebSocket, its pending calls by number, and the task that reads replies."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.broken = False
        self._socket = socket
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._reader = asyncio.create_task(self._read())

    async def call(self, path: str, request: msgspec.Struct, timeout: float) -> Reply:
        number, loop = next(self._numbers), asyncio.get_running_loop()
        reply: asyncio.Future[Reply] = loop.create_future()
        self._waiting[number] = reply
        # A timer that fails the future is enough for the deadline, because sending never blocks longer than the pulse.
        deadline = loop.call_later(timeout, _fail, reply, TimeoutError())
        try:
            await self._send(encode((number, path, request_id.current(), request)))
            return await reply
        finally:
            deadline.cancel()
            del self._waiting[number]

    async def _send(self, message: bytes) -> None:
        try:
            await self._socket.send_bytes(message)
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(_BROKEN) from error

    async def close(self) -> None:
        if self._waiting:
            await asyncio.wait(tuple(self._waiting.values()))
        self._reader.cancel()
        await asyncio.wait((self._reader,))
        await self._socket.close()

    async def _read(self) -> None:
        pulse = Pulse(self._socket, HEARTBEAT, ping=True)
        try:
            while (message := await self._socket.receive()).type in _EXPECTED:
                pulse.beat()
                if message.type is aiohttp.WSMsgType.PONG:
                    continue
                reply = decode_reply(message.data)
                waiting = self._waiting.get(reply.number)  # None if the caller was cancelled
                if waiting is not None and not waiting.done():
                    waiting.set_result(reply)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            await self._socket.close(code=aiohttp.WSCloseCode.INVALID_TEXT)
        finally:
            pulse.stop()
            self.broken = True
            for waiting in self._waiting.values():
                _fail(waiting, Unavailable(_BROKEN))


def _fail(reply: asyncio.Future[Reply], error: Exception) -> None:
    if not reply.done():
        reply.set_exception(error)
