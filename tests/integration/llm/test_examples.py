"""The examples of docs/llm are run unchanged."""

from __future__ import annotations

import ast
import inspect
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.llm.redis_server import RedisServer, redis_server

ROOT = Path(__file__).parents[3]
PAGES, README = ROOT / "docs" / "llm", ROOT / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
async def test_the_examples_of_a_page_run(
    page: str, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall((PAGES / page).read_text())
    names: dict[str, Any] = {"__name__": "example", "REDIS_URL": redis.url}
    for number, block in enumerate(blocks):
        code = compile(block, f"{page}, example {number + 1}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if code.co_flags & inspect.CO_COROUTINE:
            await types.FunctionType(code, names)()
        else:
            exec(code, names)


def test_the_example_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (block,) = (one for one in BLOCK.findall(README.read_text()) if "vectorcache_llm" in one)
    exec(compile(block, "README.md", "exec"), {"__name__": "example"})
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert any(tmp_path.rglob("*")), "the data folder is where the environment says"


def test_every_part_has_a_page_with_an_example() -> None:
    without = {path.stem for path in PAGES.glob("*.md") if not BLOCK.search(path.read_text())}
    assert without <= {"labelled-pairs", "cli"}  # these are about data, and about commands
