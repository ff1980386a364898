"""``vectorcache llm warm``, ``export``, ``import``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vectorcache_llm.cli.options import Caches, ConfigFile, Data, Json, Tags, Ttl, seconds
from vectorcache_llm.cli.output import print_report
from vectorcache_llm.cli.session import with_caches
from vectorcache_llm.manager import Manager, Report
from vectorcache_llm.manager.manager import Progress
from vectorcache_llm.scope import Selection

File = Annotated[Path, typer.Argument(help="A file of JSON lines.", show_default=False)]


def warm(
    file: Annotated[
        Path, typer.Argument(help="JSON lines or CSV with prompt, reply, model, ...", show_default=False)
    ],
    ttl: Ttl = None,
    data: Data = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Put prompts with their replies into the response cache."""
    lifetime = seconds("--ttl", ttl)

    async def fill(caches: Manager) -> Report:
        with _progress("kept", json) as progress:
            return await caches.warm(file, ttl=lifetime, progress=progress)

    print_report(with_caches(config, data, fill), "kept", json=json)


def export(
    file: File,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Of this customer.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Of this person.")] = None,
    tag: Tags = None,
    cache: Caches = None,
    data: Data = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Write entries to a file."""
    selection = Selection(tenant, user, tags=frozenset(tag or ()))

    async def write(caches: Manager) -> Report:
        with _progress("written", json) as progress:
            return await caches.export(file, selection, cache or (), progress=progress)

    print_report(with_caches(config, data, write), "exported", json=json)


def import_(
    file: File, cache: Caches = None, data: Data = None, config: ConfigFile = None, json: Json = False
) -> None:
    """Keep the entries of an exported file, with their times and ends of life."""

    async def read(caches: Manager) -> Report:
        with _progress("kept", json) as progress:
            return await caches.restore(file, cache or (), progress=progress)

    print_report(with_caches(config, data, read), "kept", json=json)


@contextmanager
def _progress(done: str, json: bool) -> Iterator[Progress]:
    """Shows on a terminal how far it is, and nothing elsewhere."""
    console = Console(stderr=True, quiet=json)
    with console.status("...") as status:
        yield lambda count: status.update(f"{count:,} {done}")
