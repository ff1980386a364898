"""Would-be hits are not served but written with both replies, and read again when labelled."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from tests.support.llm.fakes import Hears, Model, cache_of
from tests.support.llm.flaky import FlakyEmbedder
from tests.support.waiting import until

from vectorcache.errors import InvalidInput
from vectorcache_llm.observer import Outcome
from vectorcache_llm.response import Fixed, Reply, Request, ShadowCollector, load_pairs

QUESTION = "How do I reverse a string in Python?"
SIMILAR = "Please, how do I reverse a string in Python"
TRAP = "How do I reverse a string in Java?"


def collector(path: Path, **settings: float) -> ShadowCollector:
    return ShadowCollector(path, rng=random.Random(0), **settings)  # type: ignore[arg-type]


async def test_both_replies_are_written_while_nothing_similar_is_served(tmp_path: Path) -> None:
    path = tmp_path / "shadow.jsonl"
    embedder = FlakyEmbedder()
    settings = {"threshold": Fixed(None), "shadow": collector(path, sample=1.0)}
    async with cache_of(embedder, **settings) as cache:
        await cache.put(Request(QUESTION), Reply("use slices"))
        for question in (SIMILAR, TRAP, "What is the capital of France?"):
            assert (await cache.get_or_call(Request(question), Model())).lookup.outcome is Outcome.MISS
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["a"], line["b"]) for line in lines] == [(SIMILAR, QUESTION), (TRAP, QUESTION)]
    assert lines[0]["reply"] == f"{SIMILAR} #1"
    assert lines[0]["stored_reply"] == "use slices"
    assert lines[0]["fingerprint"] == embedder.fingerprint
    assert (lines[0]["reason"] == "", lines[1]["reason"] == "") == (True, False)
    assert lines[0]["same"] is None


async def test_a_sample_of_hits_is_not_served(tmp_path: Path) -> None:
    path = tmp_path / "shadow.jsonl"
    async with cache_of(FlakyEmbedder(), shadow=collector(path, sample=0.5)) as cache:
        await cache.put(Request(QUESTION), Reply("use slices"))
        outcomes = [(await cache.get(Request(SIMILAR))).outcome for _ in range(100)]
    assert 30 < outcomes.count(Outcome.MISS) < 70
    assert 30 < outcomes.count(Outcome.SEMANTIC) < 70


async def test_the_file_size_is_bounded_across_restarts(tmp_path: Path) -> None:
    path = tmp_path / "shadow.jsonl"
    for _ in range(2):
        async with cache_of(FlakyEmbedder(), shadow=collector(path, sample=1.0, max_bytes=1500)) as cache:
            await cache.put(Request(QUESTION), Reply("use slices"))
            for number in range(10):
                await cache.get_or_call(Request(f"{SIMILAR} {'x' * number}"), Model())
                await until(lambda: not cache._background._running)
            assert (await cache.get(Request(SIMILAR + " thanks"))).outcome is Outcome.SEMANTIC
    assert 0 < path.stat().st_size <= 1500


async def test_a_full_disk_is_reported_but_not_raised(tmp_path: Path) -> None:
    ears = Hears()
    shadow = collector(tmp_path / "no such folder" / "shadow.jsonl", sample=1.0)
    async with cache_of(FlakyEmbedder(), shadow=shadow, observer=ears) as cache:
        await cache.put(Request(QUESTION), Reply("use slices"))
        assert (await cache.get_or_call(Request(SIMILAR), Model())).reply.text == f"{SIMILAR} #1"
    assert ears.failures == ["write"]


def test_only_labelled_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "shadow.jsonl"
    lines = [{"a": "1", "b": "2", "same": label, "reply": "x"} for label in (True, None, False)]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert [pair.same for pair in load_pairs(path)] == [True, False]
    path.write_text('{"a": 1}\n')
    with pytest.raises(InvalidInput, match="line 1"):
        load_pairs(path)


def test_settings_are_checked(tmp_path: Path) -> None:
    for settings in ({"sample": 2.0}, {"floor": -1.0}):
        with pytest.raises(InvalidInput):
            collector(tmp_path / "x", **settings)
