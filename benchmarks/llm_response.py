"""Times of the response cache: exact and semantic hits in process, and semantic hits in Redis, compared with RedisVL.

The caches have 10 000 entries of one scope and context. Prompts are those of the labelled pairs with a number in front,
so that they are distinct. The queries of the semantic rows are paraphrases whose guard features are not computed yet.
Both caches in Redis have the same static embedder, prompts and replies. RedisVL's ``SemanticCache`` is called in its
faster way (synchronously or asynchronously), and its calls alternate with ours.

Needs ``redisvl`` besides the extras ``bench`` and ``dev``.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from benchmarks.support import arguments, at_least, at_most, report
from numpy.typing import NDArray
from tests.support.llm.redis_server import redis_server

from vectorcache_llm.embedders import Embedder, StaticEmbedder
from vectorcache_llm.observer import Outcome
from vectorcache_llm.response import Fixed, Guard, Reply, Request, ResponseCache, load_pairs
from vectorcache_llm.similarity import MemoryIndex, RedisSearchIndex, SimilarityIndex

REPLY = "An answer of some length. " * 20
TURN = 50
WARM_UP = 5
"""Number of unmeasured calls before each turn."""
Call = Callable[[int], Awaitable[object]]
Times = dict[str, NDArray[np.float64]]


def prompts(count: int) -> list[tuple[str, str]]:
    """Return stored prompts and queries that the guard does not refuse."""
    guard = Guard()
    same = [pair for pair in load_pairs() if pair.same and guard.refuses(pair.a, pair.b) is None]
    return [
        (f"Ticket {number}: {pair.a}", f"Ticket {number}: {pair.b}")
        for number, pair in zip(range(1000, 1000 + count), same * (count // len(same) + 1), strict=False)
    ]


async def filled(
    embedder: Embedder, index: SimilarityIndex, pairs: Sequence[tuple[str, str]]
) -> ResponseCache:
    cache = ResponseCache(embedder, [index], threshold=Fixed(0.5), guard=Guard(), deadline=1.0)
    await cache.open()
    for stored, _ in pairs:
        await cache.put(Request(stored), Reply(REPLY))
    return cache


async def in_turns(calls: Mapping[str, Call], rounds: int) -> Times:
    """Return the seconds of each call.

    Calls alternate, so that a slowdown of the machine affects all of them. A turn has ``TURN`` calls of one kind, so
    that few calls start with processor caches filled by another kind.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for start in range(0, rounds, TURN):
        for name, call in calls.items():
            for number in range(start - WARM_UP, min(start + TURN, rounds)):
                begun = time.perf_counter()
                await call(number)
                if number >= start:
                    times[name].append(time.perf_counter() - begun)
    return {name: np.array(values) for name, values in times.items()}


def shares(found: list[Outcome]) -> str:
    return ", ".join(f"{outcome} {found.count(outcome) / len(found):.2f}" for outcome in sorted(set(found)))


async def in_process(pairs: Sequence[tuple[str, str]], rounds: int) -> tuple[Times, str]:
    embedder = StaticEmbedder()
    cache = await filled(embedder, MemoryIndex(embedder.fingerprint, embedder.dimension), pairs)
    outcomes: list[Outcome] = []
    known = [Request(stored) for stored, _ in pairs]

    async def exact(number: int) -> None:
        assert (await cache.get(known[number])).outcome is Outcome.EXACT

    async def exact_from_messages(number: int) -> None:
        messages = [{"role": "user", "content": pairs[number][0]}]
        assert (await cache.get(Request(messages))).outcome is Outcome.EXACT

    async def semantic(number: int) -> None:
        outcomes.append((await cache.get(Request(pairs[number][1]))).outcome)

    calls = {"exact": exact, "exact, messages": exact_from_messages, "semantic": semantic}
    times = {name: (await in_turns({name: call}, rounds))[name] for name, call in calls.items()}
    await cache.close()
    return times, shares(outcomes)


async def in_redis(pairs: Sequence[tuple[str, str]], rounds: int, url: str) -> tuple[Times, str]:
    from redisvl.extensions.cache.llm import SemanticCache
    from redisvl.utils.vectorize import CustomVectorizer

    embedder = StaticEmbedder()

    def embed(text: str) -> list[float]:
        return _at_once(embedder, text)

    async def aembed(text: str) -> list[float]:
        return (await embedder.embed([text]))[0].tolist()  # type: ignore[no-any-return]  # of floats

    peer = SemanticCache(
        redis_url=url, vectorizer=CustomVectorizer(embed=embed, aembed=aembed), distance_threshold=0.5
    )
    for stored, _ in pairs:
        peer.store(stored, REPLY)
    cache = await filled(embedder, RedisSearchIndex(url, embedder.fingerprint, embedder.dimension), pairs)
    outcomes: list[Outcome] = []

    async def ours(number: int) -> None:
        outcomes.append((await cache.get(Request(pairs[number][1]))).outcome)

    async def asynchronous(number: int) -> None:
        assert await peer.acheck(pairs[number][1])

    async def synchronous(number: int) -> None:
        assert peer.check(pairs[number][1])

    times = await in_turns({"ours": ours, "acheck": asynchronous, "check": synchronous}, rounds)
    await cache.close()
    return times, shares(outcomes)


def _at_once(embedder: Embedder, text: str) -> list[float]:
    """Run a coroutine that never suspends, and return its result."""
    try:
        embedder.embed([text]).send(None)  # type: ignore[attr-defined]  # it is a coroutine
    except StopIteration as ended:
        return ended.value[0].tolist()  # type: ignore[no-any-return]  # of floats
    raise AssertionError("the static embedder must embed short texts without suspending")


def milliseconds(times: NDArray[np.float64], percent: float = 50) -> float:
    return round(float(np.percentile(times, percent)) * 1e3, 4)


def main() -> None:
    given = arguments(__doc__ or "", entries=10_000, rounds=2000)
    pairs = prompts(given.entries)
    near, near_outcomes = asyncio.run(in_process(pairs, given.rounds))
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as server:
        far, far_outcomes = asyncio.run(in_redis(pairs, given.rounds // 4, server.url))
    figures: dict[str, object] = {
        f"{name}, p50 and p99 (ms)": f"{milliseconds(times)}, {milliseconds(times, 99)}"
        for name, times in (near | {f"Redis, {name}": times for name, times in far.items()}).items()
    }
    figures["outcomes of semantic, in process"] = near_outcomes
    figures["outcomes of semantic, in Redis"] = far_outcomes
    peer = min(milliseconds(far["acheck"]), milliseconds(far["check"]))
    report(
        "llm_response",
        figures,
        [
            at_most("exact hit in process, p50 (ms)", milliseconds(near["exact"]), 0.02),
            at_most("semantic hit in process, p50 (ms)", milliseconds(near["semantic"]), 0.3),
            at_least("semantic hit in Redis: RedisVL's p50 / ours", peer / milliseconds(far["ours"]), 1.5),
        ],
    )


if __name__ == "__main__":
    main()
