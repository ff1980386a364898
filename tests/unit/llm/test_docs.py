"""The documentation matches the code."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from vectorcache_llm.cli import COMMANDS
from vectorcache_llm.config.kinds import SETTINGS, Setting
from vectorcache_llm.manager.warming import Prompt
from vectorcache_llm.metrics.counters import KINDS

DOCS = Path(__file__).parents[3] / "docs/llm"


def page(name: str) -> str:
    return (DOCS / name).read_text()


def default(setting: Setting) -> str:
    match setting.default:
        case None:
            return "none"
        case str() as text if text:
            return text
        case other:
            return msgspec.json.encode(other).decode()


def test_every_setting_is_documented_with_default_and_allowed_values() -> None:
    rows = re.findall(
        r"^\| `([\w.]+)` \| `(.*?)` \| (.*?) \| (.*?) \|$", page("configuration.md"), re.MULTILINE
    )
    assert rows == [
        (setting.key, default(setting), setting.allowed, setting.about) for setting in SETTINGS.values()
    ]


def test_every_metric_is_documented() -> None:
    documented = set(re.findall(r"`(vectorcache_llm_\w+)`", page("metrics.md")))
    assert documented == {
        *(f"vectorcache_llm_{kind}_total" for kind in KINDS),
        "vectorcache_llm_saved_money_total",
        "vectorcache_llm_lookup_seconds",
        "vectorcache_llm_lookup_seconds_quantile",
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_with_its_example(name: str) -> None:
    assert re.search(rf"`{name}[` ]", page("cli.md"))
    assert f"\nvectorcache llm {COMMANDS[name][1]}\n" in page("cli.md")


def test_every_field_of_a_file_for_warming_is_documented() -> None:
    section = page("manager.md").partition("## Warming")[2]
    assert all(f"`{field.name}`" in section for field in msgspec.structs.fields(Prompt))
