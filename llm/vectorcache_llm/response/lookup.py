"""The result of a lookup for the caller, and its state for the cache."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from vectorcache.vectors.metric import Floats
from vectorcache_llm.observer import Outcome
from vectorcache_llm.response.reply import Reply
from vectorcache_llm.response.request import Request
from vectorcache_llm.response.shadow import WouldBeHit
from vectorcache_llm.scope import Scope
from vectorcache_llm.similarity.base import Partition


@dataclass(frozen=True, slots=True)
class Lookup:
    """The result of a lookup.

    Attributes:
        reply: the reply that was found, or None on any kind of miss.
        outcome: the kind of hit or miss.
        tier: name of the tier that had the reply.
        similarity: cosine of the two questions if a similar one was served or refused.
        matched: the stored question if a similar one was served or refused.
        reason: why the guard refused it.
        seconds: duration of the lookup.
    """

    reply: Reply | None
    outcome: Outcome
    tier: str = ""
    similarity: float | None = None
    matched: str = ""
    reason: str = ""
    seconds: float = 0.0


class Answer(NamedTuple):
    """A reply and the lookup before it. ``lookup.reply`` is None if the model was called."""

    reply: Reply
    lookup: Lookup


@dataclass(slots=True)
class Query:
    """The state of one request during its lookup, call and storing.

    Attributes:
        allowance: seconds by which the cache may still delay its caller.
        mark: the mark of the invalidations before anything was read.
        vector: the vector of its question, embedded when first needed; None until then or after a failure.
        embedded: whether embedding was attempted.
        failed: whether a tier or the embedder failed, so that a miss does not mean the reply is absent everywhere.
        judged: whether the shadow collector's sampling has been decided for this query.
        would_be: the would-be hit that was sampled, kept until the model's reply arrives.
    """

    request: Request
    scope: Scope
    id: str
    allowance: float
    mark: int
    vector: Floats | None = None
    embedded: bool = False
    failed: bool = False
    judged: bool = False
    would_be: WouldBeHit | None = None
    _partition: Partition | None = field(default=None)

    @property
    def partition(self) -> Partition:
        """The partition that holds similar questions."""
        if self._partition is None:
            self._partition = Partition(self.scope, self.request.context)
        return self._partition

    @contextmanager
    def spending(self) -> Iterator[float]:
        """Yield the deadline, in seconds of the event loop's clock, and deduct the time used from the allowance."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            yield begun + self.allowance
        finally:
            self.allowance = max(0.0, self.allowance - (loop.time() - begun))
