"""A store, an index and an embedder in process that fail while they are told to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vectorcache.errors import Unavailable
from vectorcache.vectors.metric import Floats
from vectorcache_llm.embedders import HashingEmbedder
from vectorcache_llm.kv import MemoryStore
from vectorcache_llm.observer import Observer, Outcome
from vectorcache_llm.similarity.local.memory import MemoryIndex


class Down:
    """``down`` makes every call fail."""

    down = False

    def __getattribute__(self, name: str) -> Any:
        if name in CALLS and object.__getattribute__(self, "down"):
            raise Unavailable(f"{type(self).__name__} is down")
        return object.__getattribute__(self, name)


CALLS = frozenset(
    (
        "open",
        "get",
        "get_many",
        "put",
        "put_new",
        "delete",
        "scan",
        "delete_where",
        "stats",
        "add",
        "search",
        "lookup",
    )
)


class FlakyStore(Down, MemoryStore):
    """A ``MemoryStore`` that may be down."""


class FlakyIndex(Down, MemoryIndex):
    """A ``MemoryIndex`` that may be down."""


class FlakyEmbedder(HashingEmbedder):
    """A ``HashingEmbedder`` that may be down; ``texts`` counts what it embedded."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.texts = 0

    async def embed(self, texts: Sequence[str]) -> Floats:
        if self.down:
            raise Unavailable("the embedder is down")
        self.texts += len(texts)
        return await super().embed(texts)


def flaky_index(embedder: FlakyEmbedder, **settings: Any) -> FlakyIndex:
    return FlakyIndex(embedder.fingerprint, embedder.dimension, **settings)


class Ears(Observer):
    """Keeps what it hears: outcomes, and operations that failed."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.failures: list[str] = []
        self.kept: list[tuple[str, int]] = []
        self.gone: list[tuple[int, str]] = []

    def looked_up(
        self, cache: str, tenant: str, outcome: Outcome, seconds: float, *, tier: str = "", key: str = ""
    ) -> None:
        self.outcomes.append(outcome)

    def stored(self, cache: str, tenant: str, tier: str, size: int) -> None:
        self.kept.append((tenant, size))

    def removed(self, cache: str, tier: str, count: int, reason: str) -> None:
        self.gone.append((count, reason))

    def failed(self, cache: str, tier: str, operation: str, error: BaseException) -> None:
        self.failures.append(operation)
