"""A built collection of two versions, and the command as a function."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from vectorcache import BuildSettings, FolderBlobStore, build_collection
from vectorcache_tools.cli import app

Run = Callable[..., Result]

SETTINGS = BuildSettings(cells=4, calibration_queries=20)


@pytest.fixture
def run() -> Run:
    """Runs ``vectorcache ARGUMENT...``; a wide terminal keeps tables whole."""

    def invoke(*arguments: object, text: str | None = None) -> Result:
        return CliRunner().invoke(app, [str(one) for one in arguments], input=text, env={"COLUMNS": "200"})

    return invoke


@pytest.fixture(scope="session")
def vectors() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(200, 4)).astype(np.float32)


@pytest.fixture
def blobs(tmp_path: Path, vectors: np.ndarray) -> Path:
    """A folder with two versions of the collection ``small``."""

    async def build() -> None:
        async with FolderBlobStore(tmp_path / "blobs") as store:
            for _ in range(2):
                await build_collection(store, "small", vectors, SETTINGS)

    asyncio.run(build())
    return tmp_path / "blobs"
