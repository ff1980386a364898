import io
from pathlib import Path

from rich.console import Console

from vectorcache_llm.demo import run_demo
from vectorcache_llm.demo.narrator import Narrator


async def test_the_demo_finds_what_it_stored_serves_other_words_and_refuses_traps(tmp_path: Path) -> None:
    told = io.StringIO()
    report = await run_demo(tmp_path, Narrator(Console(file=told, width=120)))
    assert report.prompts > 300
    assert report.cold.tiers["disk"] > 0
    assert report.warm.exact == report.warm.asked == report.prompts
    assert report.warm.tiers["memory"] > 0.95 * report.prompts  # the last promotions may still be under way
    assert report.traps.refused > 10 * report.traps.semantic
    assert report.paraphrases.semantic > 20
    assert all(example.reason for example in report.examples)
    assert len(report.wrong) == report.paraphrases.wrong + report.traps.wrong
    assert report.faults == []
    text = told.getvalue()
    assert f"{report.prompts:,} of {report.prompts:,} found" in text
    assert report.examples[0].reason.split()[0] in text
    assert ("another question, though" in text) == bool(report.wrong)
    assert "All is well" in text
    assert "\x1b" not in text
