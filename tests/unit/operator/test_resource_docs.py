"""docs/resource.md is up to date, and the CRD describes every field."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("resource_docs", ROOT / "scripts/resource_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(generator: ModuleType) -> None:
    assert generator.page() == (ROOT / "docs/resource.md").read_text(), "run scripts/resource_docs.py"


def test_every_field_is_described(generator: ModuleType) -> None:
    crd = yaml.safe_load((ROOT / "manifests/crd/vectorcaches.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for part in ("spec", "status"):
        found = list(generator.fields(schema["properties"][part]))
        assert len(found) > 20
        assert [one.path for one in found if not one.text.endswith(".")] == []


def test_every_rule_has_a_message(generator: ModuleType) -> None:
    crd = yaml.safe_load((ROOT / "manifests/crd/vectorcaches.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert len(list(generator.rules(schema))) == 13
