"""Queries, sequential or from concurrent callers, and the score of their answers."""

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
    """The results of a number of queries.

    Attributes:
        latencies: seconds that each answered query took.
        answers: number of a query to the ids of its last answer, nearest first.
        failed: queries that failed or had a partial answer.
        wrong: queries whose answer differs from the expected one.
        seconds: time from the first query to the last answer.
    """

    latencies: list[float] = field(default_factory=list)
    answers: dict[int, Ids] = field(default_factory=dict)
    failed: int = 0
    wrong: int = 0
    seconds: float = 0.0

    def milliseconds(self, percentile: float) -> float:
        """Return a percentile of the latencies in milliseconds, or 0 if no query was answered."""
        return float(np.percentile(self.latencies, percentile)) * 1e3 if self.latencies else 0.0

    @property
    def first_ms(self) -> float:
        """Latency of the first query in milliseconds."""
        return self.latencies[0] * 1e3 if self.latencies else 0.0

    @property
    def rate(self) -> float:
        """Answered queries per second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def recall(self, truth: Sequence[frozenset[int | str]]) -> float:
        """Return the mean fraction of the true neighbours that were found. A query without an answer counts as 0."""
        found = [
            len(truth[number].intersection(ids)) / len(truth[number]) for number, ids in self.answers.items()
        ]
        return sum(found) / len(truth)


class Questions:
    """Queries to one collection.

    Args:
        client: client of the router.
        collection: name of the collection.
        queries: (q, d) float32.
    """

    def __init__(self, client: AsyncClient, collection: str, queries: Floats) -> None:
        self._client = client
        self._collection = collection
        self._queries = queries

    async def one_by_one(self) -> Score:
        """Run every query once, sequentially."""
        score = Score()
        started = time.perf_counter()
        for number in range(len(self._queries)):
            await self._ask(number, score, None)
        score.seconds = time.perf_counter() - started
        return score

    async def at_once(
        self, callers: int, stop: asyncio.Event, expected: dict[int, Ids] | None = None
    ) -> Score:
        """Run queries from concurrent callers until ``stop`` is set. Each caller cycles through its own queries.

        Args:
            callers: number of callers.
            stop: ends the run when it is set.
            expected: the expected answers; any other answer counts as wrong.
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
