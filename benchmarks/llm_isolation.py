"""Random operations of many tenants, users and applications on every similarity index, to find isolation failures."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.support import Goal, arguments, report
from tests.support.llm.clock import FakeClock
from tests.support.llm.operations import Operations
from tests.support.llm.qdrant_server import qdrant_server
from tests.support.llm.redis_server import redis_server

from vectorcache_llm.kv import SQLiteStore
from vectorcache_llm.similarity import (
    DiskIndex,
    FaissIndex,
    MemoryIndex,
    QdrantIndex,
    RedisSearchIndex,
    RedisVectorSetIndex,
    SimilarityIndex,
)
from vectorcache_llm.similarity.local.faiss import KINDS

DIMENSION = 16
DEADLINE = 30.0  # generous, because a slow answer on a busy machine is no isolation failure


def backends(
    redis_url: str, qdrant_url: str, folder: Path, clock: FakeClock
) -> dict[str, Callable[[], SimilarityIndex]]:
    made: dict[str, Callable[[], SimilarityIndex]] = {
        "memory": lambda: MemoryIndex("f", DIMENSION, clock=clock),
        "memory, exact": lambda: MemoryIndex("f", DIMENSION, method="exact", clock=clock),
    }
    for kind in KINDS:
        made[f"faiss, {kind}"] = lambda kind=kind: FaissIndex("f", DIMENSION, kind=kind, clock=clock)
    made["disk"] = lambda: DiskIndex(
        MemoryIndex("f", DIMENSION, clock=clock), SQLiteStore(folder / "disk.db", clock=clock)
    )
    made["redis"] = lambda: RedisSearchIndex(redis_url, "f", DIMENSION, deadline=DEADLINE, clock=clock)
    made["redis, vector sets"] = lambda: RedisVectorSetIndex(
        redis_url, "f", DIMENSION, deadline=DEADLINE, clock=clock
    )
    made["qdrant"] = lambda: QdrantIndex(qdrant_url, "f", DIMENSION, deadline=DEADLINE, clock=clock)
    return made


async def crossed(index: SimilarityIndex, clock: FakeClock, count: int, seed: int) -> dict[str, float]:
    operations = Operations(index, clock, random.Random(seed), DIMENSION)
    started = time.perf_counter()
    async with index:
        try:
            await operations.run(count)
        except AssertionError as error:
            print(f"{index.name}, operation {operations.done}: {error}")
    return {
        "operations": operations.done,
        "entries returned": operations.answers,
        "across a boundary": operations.crossed,
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    options = arguments(__doc__, operations=100_000, seed=1)
    clock = FakeClock()
    figures: dict[str, object] = {}
    goals = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        redis, qdrant = stack.enter_context(redis_server(folder)), stack.enter_context(qdrant_server(folder))
        for name, make in backends(redis.url, qdrant.url, folder, clock).items():
            found = asyncio.run(crossed(make(), clock, options.operations, options.seed))
            figures[name] = found
            right = found["across a boundary"] == 0 and found["operations"] == options.operations
            goals.append(Goal(f"{name}: answers across a boundary", found["across a boundary"], "= 0", right))
    report("llm_isolation", figures, goals)


if __name__ == "__main__":
    main()
