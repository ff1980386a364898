import io
from pathlib import Path

import pytest
from rich.console import Console

from vectorcache_llm.demo import run_demo
from vectorcache_llm.demo.narrator import Narrator


@pytest.mark.exhaustive
async def test_demo_finds_stored_questions_serves_paraphrases_and_refuses_traps(tmp_path: Path) -> None:
    output = io.StringIO()
    report = await run_demo(tmp_path, Narrator(Console(file=output, width=120)))
    assert report.prompts > 300
    assert report.cold.tiers["disk"] > 0
    assert report.warm.exact == report.warm.asked == report.prompts
    assert report.warm.tiers["memory"] > 0.95 * report.prompts  # the last promotions may still be in flight
    assert report.traps.refused > 10 * report.traps.semantic
    assert report.paraphrases.semantic > 20
    assert all(example.reason for example in report.examples)
    assert len(report.wrong) == report.paraphrases.wrong + report.traps.wrong
    assert report.faults == []
    text = output.getvalue()
    assert f"{report.prompts:,} of {report.prompts:,} found" in text
    assert report.examples[0].reason.split()[0] in text
    assert ("reply to a different question (some" in text) == bool(report.wrong)
    assert "All checks passed" in text
    assert "\x1b" not in text
