"""One installation, one cache and one searcher, which all tests share; the files run in the order of ORDER.

These tests need a cluster and change it: they are collected only where E2E=1 says so and KUBECONFIG names one
(``scripts/e2e.sh``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.support import quickstart
from tests.e2e.support.cache import Cache
from tests.e2e.support.diagnostics import collect
from tests.e2e.support.kubectl import ROOT, Kubectl
from tests.e2e.support.machines import Machines
from tests.e2e.support.operator import Operator
from tests.e2e.support.searches import Searches
from tests.e2e.support.settings import Settings

SETTINGS = Settings.read(os.environ)
ENABLED = os.environ.get("E2E") == "1" and bool(os.environ.get("KUBECONFIG"))
ORDER = ["install", "scaling", "failures", "rollout", "storage", "operator", "figures", "uninstall"]
TEST_SECONDS = 300
RATE = 20.0

collect_ignore_glob = [] if ENABLED else ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "e2e: needs a Kubernetes cluster, see scripts/e2e.sh")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in ours:
        item.add_marker("e2e")
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS + SETTINGS.idle_seconds))
    ranks = {f"test_{name}": rank for rank, name in enumerate(ORDER)}
    ours.sort(key=lambda item: ranks[item.path.stem])  # stable: within a file, as they are written
    items[:] = [item for item in items if item not in ours] + ours


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and "e2e" in item.keywords:
        collect(SETTINGS, SETTINGS.results / "failed" / f"{item.name}-{report.when}")
    return report


@pytest.fixture(scope="session")
def settings() -> Settings:
    SETTINGS.results.mkdir(parents=True, exist_ok=True)
    return SETTINGS


@pytest.fixture(scope="session")
def system(settings: Settings) -> Kubectl:
    """The operator's namespace."""
    return Kubectl(settings.system)


@pytest.fixture(scope="session")
def operator(system: Kubectl) -> Operator:
    return Operator(system)


@pytest.fixture(scope="session")
def quick_start(settings: Settings) -> str:
    """What the quick start prints; from here on its cache runs. Where it has run before, nothing happens."""
    return "" if quickstart.installed(settings) else quickstart.install(settings)


@pytest.fixture(scope="session")
def words(settings: Settings, quick_start: str) -> Cache:
    """The quick start's cache, in whatever state the last test left it."""
    return Cache(Kubectl(settings.words), "words")


@pytest.fixture(scope="session")
def machines(words: Cache) -> Machines:
    return Machines.find(words.kubectl)


@pytest.fixture(scope="session")
def searches(settings: Settings, words: Cache, machines: Machines) -> Iterator[Searches]:
    """A pod that compares each answer with brute force, from here to the end."""
    found = Searches(words.kubectl, "searcher")
    found.stop()
    found.start("http://words-router:8080", RATE, settings.image("client"), machines.home)
    yield found
    found.stop()


@pytest.fixture
def cache(words: Cache, searches: Searches) -> Cache:
    """The quick start's cache, as its file describes it, at rest, and searched all the time."""
    words.restore(quickstart.FOLDER / "vectorcache.yaml")
    return words


@dataclass
class Figures:
    """What was measured, for build/e2e/figures.json."""

    values: dict[str, Any] = field(default_factory=dict)

    def note(self, name: str, **values: Any) -> None:
        """Add the figures of one measurement."""
        self.values[name] = {
            key: round(value, 3) if isinstance(value, float) else value for key, value in values.items()
        }


@pytest.fixture(scope="session")
def figures(settings: Settings) -> Iterator[Figures]:
    found = Figures()
    yield found
    (ROOT / settings.results / "figures.json").write_text(json.dumps(found.values, indent=2) + "\n")
