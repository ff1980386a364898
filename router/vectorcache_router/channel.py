"""The router's end of a node's stream: many calls at once over one connection, made when it is needed.

See ``vectorcache_service.stream`` for what travels.
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
"""Bytes of one reply; more ends the connection."""

_CLOSING = aiohttp.ClientWSTimeout(ws_close=1.0)
_GOES_ON = (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.PONG)
_BROKEN = "the connection broke"


class Channel:
    """Calls of one server. A connection that breaks fails the calls on it; the next call makes a new one.

    Args:
        url: of the stream.
        session: makes the connection. Closing the session closes it too.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None
        self._closed = False

    async def call(self, path: str, request: msgspec.Struct, timeout: float) -> Reply:
        """The reply to one call.

        Raises:
            Unavailable: there is no connection, or it broke.
            TimeoutError: the reply did not come within so many seconds.
        """
        connection = self._connection
        if connection is None or connection.broken or self._closed:
            async with asyncio.timeout(timeout):
                connection = await self._connected()
        return await connection.call(path, request, timeout)

    async def close(self) -> None:
        """Take no more calls, wait for those under way, each of which has its deadline, and close the connection."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait((self._connecting,))
        if self._connection is not None:
            await self._connection.close()

    async def _connected(self) -> _Connection:
        """A new connection, one for all who want it at the same time."""
        if self._closed:
            raise Unavailable("the channel was closed")
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
        connecting = self._connecting
        await asyncio.wait((connecting,))  # so that a caller that gives up takes it from nobody
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
            raise Unavailable(f"no connection: {type(error).__name__}") from error
        self._connection = _Connection(socket)
        return self._connection


class _Connection:
    """One WebSocket, the calls that wait on it by number, and the task that reads replies."""

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
        # A timer that fails the future is all that a deadline needs: sending cannot block for longer than the pulse.
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
            while (message := await self._socket.receive()).type in _GOES_ON:
                pulse.beat()
                if message.type is aiohttp.WSMsgType.PONG:
                    continue
                reply = decode_reply(message.data)
                waiting = self._waiting.get(reply.number)  # nobody, if the caller gave up
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
