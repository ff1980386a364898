"""``vectorcache llm warm``, ``export`` and ``import``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vectorcache_llm.cli.options import Caches, ConfigFile, Data, Json, TagFilter, Ttl, seconds
from vectorcache_llm.cli.output import print_report
from vectorcache_llm.cli.session import with_caches
from vectorcache_llm.manager import Manager, Report
from vectorcache_llm.manager.manager import Progress
from vectorcache_llm.scope import Selection

File = Annotated[Path, typer.Argument(help="JSON Lines file.", show_default=False)]


def warm(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON Lines or CSV file with the fields prompt, reply and model.", show_default=False
        ),
    ],
    ttl: Ttl = None,
    data: Data = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Load prompts and their replies into the response cache."""
    lifetime = seconds("--ttl", ttl)

    async def fill(caches: Manager) -> Report:
        with _progress("kept", json) as progress:
            return await caches.warm(file, ttl=lifetime, progress=progress)

    print_report(with_caches(config, data, fill), "kept", json=json)


def export(
    file: File,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only entries of this tenant.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Only entries of this user.")] = None,
    tag: TagFilter = None,
    cache: Caches = None,
    data: Data = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Export entries to a file."""
    selection = Selection(tenant, user, tags=frozenset(tag or ()))

    async def write(caches: Manager) -> Report:
        with _progress("written", json) as progress:
            return await caches.export(file, selection, cache or (), progress=progress)

    print_report(with_caches(config, data, write), "exported", json=json)


def import_(
    file: File, cache: Caches = None, data: Data = None, config: ConfigFile = None, json: Json = False
) -> None:
    """Import the entries of an exported file, with their creation and expiry times."""

    async def read(caches: Manager) -> Report:
        with _progress("kept", json) as progress:
            return await caches.restore(file, cache or (), progress=progress)

    print_report(with_caches(config, data, read), "kept", json=json)


@contextmanager
def _progress(done: str, json: bool) -> Iterator[Progress]:
    """Show progress if standard error is a terminal."""
    console = Console(stderr=True, quiet=json)
    with console.status("...") as status:
        yield lambda count: status.update(f"{count:,} {done}")
