"""The demo on a hundredth of its words: every step of it, with real processes."""

import io
import os
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from vectorcache_tools.demo import DemoSettings, run_demo


@pytest.mark.exhaustive
async def test_the_demo_finds_words_and_nothing_fails(tmp_path: Path) -> None:
    settings = DemoSettings(
        words=4000, passages=3000, queries=100, load_seconds=0.5, nodes=2, workspace=tmp_path / "demo"
    )
    said = io.StringIO()
    report = await run_demo(settings, os.environ, Console(file=said, width=100))

    assert (report.failed_queries, report.wrong_answers, report.unclean_exits) == (0, 0, 0)
    words, passages = report.collections["words"], report.collections["passages"]
    assert min(words.recall_at_10, passages.recall_at_10) > 0.9
    assert (words.vectors, words.dimension, passages.vectors, passages.dimension) == (3900, 50, 3000, 256)
    assert 1 <= words.nodes_per_query <= 2
    assert 0 < words.memory_bytes < words.bytes
    assert report.nodes == 2
    assert 0.8 / 3 < report.moved_slots / report.virtual_nodes < 1.2 / 3
    assert all(
        (*msgspec.structs.astuple(words), *msgspec.structs.astuple(passages), report.qps)
    )  # none is missing
    cold, warm, restarted = (report.tiers[name] for name in ("cold", "warm", "restarted"))
    assert cold["blob"] > 0
    assert (warm["disk"], warm["blob"]) == (0, 0)
    assert (restarted["disk"], restarted["blob"]) == (cold["blob"], 0)
    assert "king" in said.getvalue()
    assert "queen" in said.getvalue()
    assert "how do volcanoes erupt" in said.getvalue()
