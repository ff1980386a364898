"""``vectorcache llm demo``: a short demonstration of semantic hits and of refused ones."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import typer
from rich.console import Console

from vectorcache_llm.cli.options import Json
from vectorcache_llm.cli.output import NOTHING, print_json
from vectorcache_llm.demo import run_demo
from vectorcache_llm.demo.narrator import Narrator


def demo(json: Json = False) -> None:
    """Store several hundred replies, look up paraphrases and traps, and report precision and recall. Runs offline."""
    narrator = Narrator(Console(highlight=False, quiet=json))
    with TemporaryDirectory(prefix="vectorcache-llm-") as folder:
        report = asyncio.run(run_demo(Path(folder), narrator))
    if json:
        print_json(report)
    if report.faults:
        raise typer.Exit(NOTHING)
