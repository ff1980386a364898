"""Asks queries, one by one or by several callers at once, and keeps the score."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from vectorcache.errors import VectorCacheError
from vectorcache.vectors.metric import Floats
from vectorcache_client.client import AsyncClient
from vectorcache_tools.demo.sample import K

Ids: TypeAlias = tuple[int | str, ...]


@dataclass(slots=True)
class Score:
    """What came of a number of queries.

    Attributes:
        latencies: seconds that each query took that was answered.
        answers: number of a query to the ids of its last answer, nearest first.
        failed: queries that gave an error or only a part of their answer.
        wrong: queries whose answer is not the expected one.
        seconds: from the first question to the last answer.
    """

    latencies: list[float] = field(default_factory=list)
    answers: dict[int, Ids] = field(default_factory=dict)
    failed: int = 0
    wrong: int = 0
    seconds: float = 0.0

    def milliseconds(self, percentile: float) -> float:
        """The latency that so many percent of the queries did not exceed; 0 where none was answered."""
        return float(np.percentile(self.latencies, percentile)) * 1e3 if self.latencies else 0.0

    @property
    def first_ms(self) -> float:
        """The latency of the first query."""
        return self.latencies[0] * 1e3 if self.latencies else 0.0

    @property
    def rate(self) -> float:
        """Answered queries for each second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def recall(self, truth: Sequence[frozenset[int | str]]) -> float:
        """Mean share of the true neighbours that were found; a query without an answer found none."""
        found = [
            len(truth[number].intersection(ids)) / len(truth[number]) for number, ids in self.answers.items()
        ]
        return sum(found) / len(truth)


class Questions:
    """The queries, and whom to ask.

    Args:
        client: of the router.
        collection: where to search.
        queries: (q, d) float32.
    """

    def __init__(self, client: AsyncClient, collection: str, queries: Floats) -> None:
        self._client = client
        self._collection = collection
        self._queries = queries

    async def one_by_one(self) -> Score:
        """Ask every query once, each after the answer to the one before."""
        score = Score()
        started = time.perf_counter()
        for number in range(len(self._queries)):
            await self._ask(number, score, None)
        score.seconds = time.perf_counter() - started
        return score

    async def at_once(
        self, callers: int, stop: asyncio.Event, expected: dict[int, Ids] | None = None
    ) -> Score:
        """So many callers ask, each its own part of the queries in turn, until they are told to stop.

        Args:
            callers: how many.
            stop: ends it.
            expected: the right answers; others count as wrong.
        """
        score = Score()
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for caller in range(callers):
                group.create_task(self._caller(caller, callers, stop, score, expected))
        score.seconds = time.perf_counter() - started
        return score

    async def _caller(
        self, caller: int, callers: int, stop: asyncio.Event, score: Score, expected: dict[int, Ids] | None
    ) -> None:
        number = caller
        while not stop.is_set():
            await self._ask(number, score, expected)
            number = (number + callers) % len(self._queries)

    async def _ask(self, number: int, score: Score, expected: dict[int, Ids] | None) -> None:
        started = time.perf_counter()
        try:
            found = await self._client.search(self._collection, self._queries[number], K)
        except VectorCacheError:
            score.failed += 1
            return
        if found.partial:
            score.failed += 1
            return
        score.latencies.append(time.perf_counter() - started)
        answer = score.answers[number] = tuple(hit.id for hit in found.results[0].hits)
        if expected is not None and expected.get(number) != answer:
            score.wrong += 1
