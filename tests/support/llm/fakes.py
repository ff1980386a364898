"""A language model, an index that hangs, and an observer, for tests of the response cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from tests.support.llm.flaky import Ears, FlakyEmbedder, FlakyIndex, flaky_index

from vectorcache_llm.observer import Outcome
from vectorcache_llm.response import Fixed, Guard, Request, ResponseCache

__all__ = ["HangingIndex", "Hears", "Model", "StreamingModel", "cache_of", "hanging_index"]


class Model:
    """Answers with the question and a number; ``gate`` holds it back, ``error`` makes it fail."""

    def __init__(self, gate: asyncio.Event | None = None, error: Exception | None = None) -> None:
        self.calls = 0
        self.gate = gate
        self.error = error

    async def __call__(self, request: Request) -> Any:
        self.calls += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return f"{request.question} #{self.calls}"


class StreamingModel:
    """Gives chunks, each after a permit where there is a ``gate``; then fails, where there is an ``error``."""

    def __init__(
        self, *chunks: Any, gate: asyncio.Semaphore | None = None, error: Exception | None = None
    ) -> None:
        self.chunks = chunks
        self.gate = gate
        self.error = error
        self.calls = 0
        self.given = 0
        self.closed = 0

    async def __call__(self, request: Request) -> AsyncIterator[Any]:
        self.calls += 1
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[Any]:
        try:
            for chunk in self.chunks:
                if self.gate is not None:
                    await self.gate.acquire()
                self.given += 1
                yield chunk
            if self.error is not None:
                raise self.error
        finally:
            self.closed += 1


class HangingIndex(FlakyIndex):
    """A ``MemoryIndex`` whose calls never come back while ``hangs``; ``asked`` counts them."""

    hangs = False
    asked = 0

    async def _wait(self) -> None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()

    async def get(self, *arguments: Any) -> Any:
        await self._wait()
        return await super().get(*arguments)

    async def search(self, *arguments: Any) -> Any:
        await self._wait()
        return await super().search(*arguments)

    async def lookup(self, *arguments: Any) -> Any:
        await self._wait()
        return await super().lookup(*arguments)

    async def add(self, *arguments: Any) -> Any:
        await self._wait()
        return await super().add(*arguments)


def hanging_index(embedder: FlakyEmbedder, name: str = "far", **settings: Any) -> HangingIndex:
    index = HangingIndex(embedder.fingerprint, embedder.dimension, **settings)
    index.name = name
    return index


class Hears(Ears):
    """Keeps outcomes of the cache and of its tiers apart, and what was saved."""

    def __init__(self) -> None:
        super().__init__()
        self.tiers: list[tuple[str, Outcome]] = []
        self.savings: list[tuple[str, str, int, int]] = []

    def looked_up(
        self, cache: str, tenant: str, outcome: Outcome, seconds: float, *, tier: str = "", key: str = ""
    ) -> None:
        if tier:
            self.tiers.append((tier, outcome))
        else:
            self.outcomes.append(outcome)

    def saved(self, tenant: str, model: str, prompt_tokens: int, completion_tokens: int) -> None:
        self.savings.append((tenant, model, prompt_tokens, completion_tokens))


def cache_of(embedder: FlakyEmbedder, *tiers: Any, **settings: Any) -> ResponseCache:
    """A cache of these tiers, or of one in memory; everything similar by 0.5 is served unless told otherwise."""
    settings = {"threshold": Fixed(0.5), "guard": Guard(), "drain": 1.0} | settings
    return ResponseCache(embedder, tiers or (flaky_index(embedder),), **settings)
