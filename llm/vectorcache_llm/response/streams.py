"""A model's stream that several callers read, each from its beginning."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from vectorcache.concurrency import Tasks
from vectorcache.errors import Unavailable
from vectorcache_llm.response.reply import Chunk, Reply
from vectorcache_llm.response.request import Request

LEAD = 256
"""Maximum number of chunks by which the source may be ahead of its fastest reader."""
MAX_RECORDED = 4 << 20
"""Maximum characters of a recording. A longer stream is passed through, but not stored or shared any more."""


async def opened(call: Callable[[Request], Any], request: Request) -> AsyncGenerator[Chunk, None]:
    """Yield the chunks of a call that returns an async iterator or an awaitable of one, and always close it."""
    stream = call(request)
    if inspect.isawaitable(stream):
        stream = await stream
    try:
        async for value in stream:
            yield Chunk.of(value)
    finally:
        close = getattr(stream, "aclose", None) or getattr(stream, "close", None)
        closing = None if close is None else close()
        if inspect.isawaitable(closing):
            await closing


class Recording:
    """A recording of a source, which runs in a separate task while readers follow it.

    Readers receive chunks as they arrive. An error of the source is raised in every reader, after the chunks before
    it. If all readers leave early, the source is stopped, unless it has already sent its finish reason.

    Args:
        source: the chunks.
        finished: awaited with the whole reply when the source has ended normally; it must not raise.
    """

    def __init__(
        self, source: AsyncGenerator[Chunk, None], finished: Callable[[Reply], Awaitable[None]]
    ) -> None:
        self._source = source
        self._finished = finished
        self._chunks: list[Chunk] = []
        self._dropped = 0
        self._characters = 0
        self._positions: dict[object, int] = {}
        self._grown = asyncio.Event()
        self._read = asyncio.Event()
        self._finishing = False
        self._done = False
        self._error: Exception | None = None
        self._runner: asyncio.Task[None] | None = None

    @property
    def joinable(self) -> bool:
        """Whether a new reader can read from the beginning, without an error."""
        return self._characters <= MAX_RECORDED and self._error is None

    def start(self, tasks: Tasks) -> asyncio.Task[None]:
        """Start reading the source. The task ends after ``finished`` has."""
        self._runner = tasks.start(self._run())
        return self._runner

    async def follow(self) -> AsyncGenerator[Chunk, None]:
        """Yield every chunk from the first, as soon as it arrives."""
        me = object()
        self._positions[me] = 0
        try:
            while True:
                while (place := self._positions[me] - self._dropped) < len(self._chunks):
                    self._positions[me] += 1
                    self._read.set()
                    yield self._chunks[place]
                if self._done:
                    break
                await self._grown.wait()
            if self._error is not None:
                raise self._error
        finally:
            del self._positions[me]
            self._leave()

    async def _run(self) -> None:
        try:
            await self._record()
        except asyncio.CancelledError:
            self._error = self._error or Unavailable("the stream was stopped before its end")
            raise
        except Exception as error:  # noqa: BLE001 - raised again in every reader
            self._error = error
        finally:
            self._done = True
            self._grown.set()
        if self.joinable:
            await self._finished(Reply.joined(self._chunks))

    async def _record(self) -> None:
        async with aclosing(self._source):
            async for chunk in self._source:
                self._append(chunk)
                while self._is_ahead():
                    self._read.clear()
                    await self._read.wait()

    def _append(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)
        self._characters += len(chunk.text)
        self._finishing = self._finishing or chunk.finish_reason is not None
        if not self.joinable:
            slowest = min(self._positions.values(), default=self._dropped)
            del self._chunks[: slowest - self._dropped]
            self._dropped = slowest
        self._grown.set()
        self._grown = asyncio.Event()

    def _is_ahead(self) -> bool:
        """Return whether the source is too far ahead of the fastest reader.

        Once chunks are dropped, the slowest reader counts, so that the buffer stays bounded.
        """
        pace = max if self.joinable else min
        position = pace(self._positions.values(), default=0)
        return self._dropped + len(self._chunks) - position > LEAD

    def _leave(self) -> None:
        self._read.set()
        if not self._positions and not self._finishing and not self._done and self._runner is not None:
            self._error = Unavailable("the stream was stopped when its last reader left")
            self._runner.cancel()
