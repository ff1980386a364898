import json
from pathlib import Path

import pytest

from vectorcache_tools.demo.report import CollectionFigures, DemoReport


@pytest.mark.parametrize(
    ("fault", "value"),
    [
        ("failed_queries", 1),
        ("wrong_answers", 2),
        ("unclean_exits", 1),
        ("collections", {"words": CollectionFigures(recall_at_10=0.9)}),
    ],
)
def test_a_fault_of_the_report_is_named(fault: str, value: object) -> None:
    good = {"collections": {"words": CollectionFigures(recall_at_10=0.95)}}
    assert DemoReport(**good).faults == []
    assert len(DemoReport(**{**good, fault: value}).faults) == 1


def test_it_is_written_as_json(tmp_path: Path) -> None:
    DemoReport(qps=12.5, tiers={"cold": {"blob": 3}}).write(tmp_path / "build" / "demo.json")
    written = json.loads((tmp_path / "build" / "demo.json").read_bytes())
    assert (written["qps"], written["tiers"]) == (12.5, {"cold": {"blob": 3}})
    wanted = {
        "collections",
        "qps",
        "tiers",
        "moved_slots",
        "failed_queries",
    }
    assert wanted <= set(written)
