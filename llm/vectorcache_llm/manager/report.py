"""What was done, cache by cache."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from vectorcache.errors import VectorCacheError
from vectorcache_llm.managed import ManagedCache

T = TypeVar("T")


@dataclass(slots=True)
class Report:
    """What an operation did in each cache.

    Attributes:
        counts: entries by cache, where it was done.
        errors: what failed, by cache. The other caches did theirs; those that are named may have done a part.
        complete: whether a file that was read was read to its end, as it was written.
    """

    counts: dict[str, int] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    complete: bool = True

    @property
    def total(self) -> int:
        """Entries in all caches."""
        return sum(self.counts.values())

    @property
    def ok(self) -> bool:
        """Whether all of it was done."""
        return self.complete and not self.errors

    def add(self, cache: str, count: int) -> None:
        """Count entries of a cache."""
        self.counts[cache] = self.counts.get(cache, 0) + count


async def each(
    caches: Iterable[ManagedCache], ask: Callable[[ManagedCache], Awaitable[T]]
) -> tuple[dict[str, T], dict[str, str]]:
    """Ask all caches at once: answers by cache, and the errors of those that failed."""
    asked = list(caches)
    outcomes = await asyncio.gather(*map(ask, asked), return_exceptions=True)
    answers: dict[str, T] = {}
    errors: dict[str, str] = {}
    for cache, outcome in zip(asked, outcomes, strict=True):
        if isinstance(outcome, VectorCacheError):
            errors[cache.name] = str(outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            answers[cache.name] = outcome
    return answers, errors
