"""The docs say what the code has: settings, defaults, routes, metrics, files, words of the command line."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from vectorcache_node.metrics import NodeMetrics
from vectorcache_node.settings import NodeSettings
from vectorcache_router.api import RouterApi
from vectorcache_router.metrics import RouterMetrics
from vectorcache_router.settings import RouterSettings
from vectorcache_service.metrics import RequestMetrics
from vectorcache_service.problem import _HTTP_KINDS, _KINDS
from vectorcache_service.settings import flag

ROOT = Path(__file__).parents[2]
API = (ROOT / "docs/http-api.md").read_text()
SETTINGS = [(NodeSettings, "### Settings of a node"), (RouterSettings, "### Settings of the router")]


def section(title: str) -> str:
    return re.split(r"\n##+ ", API[API.index(title) + len(title) :])[0]


@pytest.mark.parametrize(("settings", "title"), SETTINGS, ids=["node", "router"])
def test_every_setting_is_documented_with_its_default(settings: type, title: str) -> None:
    rows = dict(re.findall(r"^\| `(--[\w-]+)` \| (.*?) ?\|", section(title), re.MULTILINE))
    fields = dataclasses.fields(settings)
    assert set(rows) == {flag(field.name) for field in fields}
    for field in fields:
        text = field.metadata["text"]
        assert rows[flag(field.name)] in ((f"`{text}`",) if text else ("", "required"))


def names_of(families: list[Metric]) -> set[str]:
    return {family.name + ("_total" if family.type == "counter" else "") for family in families}


def test_every_metric_is_documented() -> None:
    registry = CollectorRegistry()
    RequestMetrics(registry)
    names = {name for name in names_of(list(registry.collect())) if name.startswith("vectorcache_")}
    for source in (NodeMetrics, RouterMetrics):
        code = Path(str(__import__(source.__module__, fromlist=["_"]).__file__)).read_text()
        names |= set(re.findall(r'Gauge\w+\(\s*"(vectorcache_\w+)"', code))
        names |= {f"{name}_total" for name in re.findall(r'Counter\w+\(\s*"(vectorcache_\w+)"', code)}
    documented = set(re.findall(r"`(vectorcache_(?:http|router|node|layer)\w+)`", section("## Metrics")))
    assert names <= documented
    assert {"vectorcache_layer_hits_total", "vectorcache_layer_load_seconds"} <= documented


def test_every_route_of_the_router_is_documented() -> None:
    routes = RouterApi(None, RouterSettings()).routes()  # type: ignore[arg-type] # no handler is called
    for route in routes:
        assert f"`{route.method} {route.path}`" in API


def test_every_problem_is_documented() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", section("## Problems"), re.MULTILINE)
    documented = {(int(status), slug) for status, slugs in rows for slug in re.findall(r"`([\w-]+)`", slugs)}
    assert documented == {(kind.status, kind.slug) for kind in (*_KINDS.values(), *_HTTP_KINDS.values())}


def test_every_file_that_the_architecture_names_is_there() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    for row in re.findall(r"^\| .*? \| (`.*`.*) \|$", text, re.MULTILINE):
        folder = Path()
        for name in re.findall(r"`([\w/.]+)`", row):
            path = Path(name) if "/" in name else folder / name
            assert (ROOT / path).exists(), path
            folder = path if (ROOT / path).is_dir() else path.parent


def test_links_between_docs_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert len(pages) > 5
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)[)#]", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
