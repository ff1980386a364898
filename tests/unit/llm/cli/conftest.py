"""The command as a function, with a separate data folder and a fast embedder."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vectorcache_llm.config import load, open_caches
from vectorcache_tools import cli

Run = Callable[..., Result]


SETTINGS = {
    "COLUMNS": "200",
    "VECTORCACHE_LLM_EMBEDDER_NAME": "hashing",
    "VECTORCACHE_LLM_RESPONSE_MIN_SIMILARITY": "0.5",
}


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with its files, which are faster to copy than to create."""
    folder = tmp_path_factory.mktemp("empty") / "data"

    async def make() -> None:
        async with await open_caches(load(environ={**SETTINGS, "VECTORCACHE_LLM_DATA": str(folder)})):
            pass

    asyncio.run(make())
    return folder


@pytest.fixture
def environ(tmp_path: Path, empty: Path) -> dict[str, str]:
    shutil.copytree(empty, tmp_path / "data")
    return {**SETTINGS, "VECTORCACHE_LLM_DATA": str(tmp_path / "data")}


@pytest.fixture
def run(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``vectorcache llm ARGUMENT...``."""
    points = EntryPoints([EntryPoint("llm", "vectorcache_llm.cli:app", cli.COMMANDS)])
    monkeypatch.setattr(cli, "entry_points", points.select)

    def invoke(*arguments: object, text: str | None = None) -> Result:
        return CliRunner().invoke(cli.app, ["llm", *map(str, arguments)], input=text, env=environ)

    return invoke
