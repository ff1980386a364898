"""The results of an operation on several caches."""

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
    """The results of an operation on each cache.

    Attributes:
        counts: number of entries by cache, where the operation succeeded.
        errors: error messages by cache. The operation succeeded in the other caches, and may be partly done in these.
        complete: whether a file was read to its end and had all of its records.
    """

    counts: dict[str, int] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    complete: bool = True

    @property
    def total(self) -> int:
        """Number of entries in all caches."""
        return sum(self.counts.values())

    @property
    def ok(self) -> bool:
        """Whether the operation succeeded completely."""
        return self.complete and not self.errors

    def add(self, cache: str, count: int) -> None:
        """Add to the number of entries of a cache."""
        self.counts[cache] = self.counts.get(cache, 0) + count


async def each(
    caches: Iterable[ManagedCache], ask: Callable[[ManagedCache], Awaitable[T]]
) -> tuple[dict[str, T], dict[str, str]]:
    """Call ``ask`` for all caches concurrently. Return the answers by cache, and the errors of those that failed."""
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
