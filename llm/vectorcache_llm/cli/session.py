"""Opening of the caches for one command."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from vectorcache_llm.cli.counts import add_counts
from vectorcache_llm.cli.output import note
from vectorcache_llm.config import Configuration, load, open_caches
from vectorcache_llm.config.folder import data_folder
from vectorcache_llm.manager import Manager
from vectorcache_llm.metrics import Metrics

T = TypeVar("T")


def configuration(config: Path | None, data: Path | None) -> Configuration:
    """Load the configuration of a command: its file, the environment, and its data folder."""
    return load(config, os.environ, {} if data is None else {"data": str(data)})


def folder_of(settings: Configuration) -> Path:
    """Return the data folder of a configuration."""
    return data_folder(settings.settings.data, os.environ)


def with_caches(config: Path | None, data: Path | None, work: Callable[[Manager], Awaitable[T]]) -> T:
    """Open the caches, run ``work``, save the metrics, and close the caches."""
    settings = configuration(config, data)

    async def run() -> T:
        async with await open_caches(settings, os.environ) as manager:
            try:
                return await work(manager)
            finally:
                await _count(folder_of(settings), manager.metrics)

    return asyncio.run(run())


async def _count(folder: Path, metrics: Metrics) -> None:
    """Save the metrics. An unwritable folder is reported but does not fail the command."""
    try:
        await asyncio.to_thread(add_counts, folder, metrics)
    except OSError as error:
        note(f"the metrics were not saved: {error}")
