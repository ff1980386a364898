"""How a look-up ended, for the caller; and what it knows on its way, for the cache."""

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
    """How a look-up ended.

    Attributes:
        reply: what was found; None on a miss, however it came about.
        outcome: how it ended.
        tier: where the reply was.
        similarity: cosine of the two questions where one was similar, served or refused.
        matched: the stored question of a similar request, served or refused.
        reason: why the guard refused it.
        seconds: how long it took.
    """

    reply: Reply | None
    outcome: Outcome
    tier: str = ""
    similarity: float | None = None
    matched: str = ""
    reason: str = ""
    seconds: float = 0.0


class Answer(NamedTuple):
    """A reply, and how it was come by: ``lookup.reply`` is None where the model was called."""

    reply: Reply
    lookup: Lookup


@dataclass(slots=True)
class Query:
    """One request on its way through look-up, call and storing.

    Attributes:
        allowance: seconds that the cache may still take from its caller.
        mark: of the invalidations, from before anything was read.
        vector: of its question, when it was first needed and could be had.
        embedded: whether that has been tried.
        failed: whether a part failed on the way, so that a miss is none that was looked for everywhere.
        judged: whether it has been decided if the shadow collector takes this query.
        would_be: what it takes, until the model's reply is there.
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
        """Where similar questions are."""
        if self._partition is None:
            self._partition = Partition(self.scope, self.request.context)
        return self._partition

    @contextmanager
    def spending(self) -> Iterator[float]:
        """Gives when the allowance is used up, of the event loop's clock; takes what was used of it at the end."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            yield begun + self.allowance
        finally:
            self.allowance = max(0.0, self.allowance - (loop.time() - begun))
