"""docs/operations.md covers what the operator can say, and names only what there is."""

from __future__ import annotations

import re

from tests.support.operator.chart import CHART, MANIFESTS, ROOT

from vectorcache_operator.conditions import MEANINGS

PAGE = (ROOT / "docs/operations.md").read_text()
HARMLESS = {("Ready", "True"), ("Progressing", "False"), ("Degraded", "False"), ("StorageReachable", "True")}


def test_there_is_advice_on_every_reason_that_is_not_good_news() -> None:
    rows = re.findall(r"^\| (\w+): (\w+) \| (`.*?) \|", PAGE, re.MULTILINE)
    advised = {
        (kind, status, reason) for kind, status, cell in rows for reason in re.findall(r"`(\w+)`", cell)
    }
    known = {(meaning.type.value, meaning.status.value, meaning.reason.value) for meaning in MEANINGS}
    assert {one for one in known if one[:2] not in HARMLESS} == advised


def test_values_of_the_chart_that_it_names_are_there() -> None:
    named = set(re.findall(r"--set '?(\S+?)'?[\s`]", PAGE))
    keys = {pair.partition("=")[0] for pairs in named for pair in pairs.split(",")}
    documented = (CHART / "README.md").read_text()
    assert {"crds.create", "watchNamespaces", "image.registry"} <= keys
    for key in keys:
        assert f"| `{key}` |" in documented


def test_files_that_it_names_are_there() -> None:
    named = set(re.findall(r"(manifests/[\w/.-]*\w)", PAGE))
    assert len(named) >= 4
    for name in named:
        assert (MANIFESTS.parent / name).exists(), name
