"""Options that several commands share, and how values are shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeAlias

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vectorcache.index.manifest import Calibration, Codes

Blobs: TypeAlias = Annotated[
    str,
    typer.Option(
        "--blobs",
        envvar="VECTORCACHE_BLOB_URL",
        help="Blob store: azure://account/container/prefix, file:///path, or a path.",
    ),
]
RouterUrl: TypeAlias = Annotated[
    str, typer.Option("--router", envvar="VECTORCACHE_ROUTER", help="Base URL of a router.")
]
Collection: TypeAlias = Annotated[str, typer.Argument(help="Name of a collection.", show_default=False)]
Version: TypeAlias = Annotated[
    int | None, typer.Option("--version", help="Number of a version.", show_default="the one served now")
]


def print_table(
    columns: Iterable[str], rows: Iterable[Iterable[object]], *, title: str | None = None
) -> None:
    """A table on standard output; numbers stand to the right."""
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    Console().print(table)


def print_facts(facts: Iterable[tuple[str, object]], *, title: str | None = None) -> None:
    """Names and values, one pair a line, on standard output."""
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    for name, value in facts:
        table.add_row(Text(name, style="dim"), Text(shown(value)))
    Console().print(table)


def shown(value: object) -> str:
    """A value as people read it."""
    match value:
        case bool():
            return "yes" if value else ""
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4g}"
        case _:
            return str(value)


def readable_codes(codes: Codes | None) -> str:
    """How vectors are coded, for people."""
    if codes is None:
        return "none"
    return f"{codes.bits} bit{'s' * (codes.bits > 1)} a component, bounds {codes.deviations:.1f} standard errors wide"


def readable_sample(search: Calibration) -> str:
    """What recall was measured on, for people."""
    if search.sample == "queries":
        return f"{search.queries} given queries"
    return f"{search.queries} held-out vectors"


def readable_bytes(size: int) -> str:
    """Bytes as people read them."""
    unit, name = next(((u, n) for u, n in ((2**30, "GiB"), (2**20, "MiB")) if size >= u), (2**10, "KiB"))
    return f"{size / unit:,.1f} {name}"


def _cell(value: object) -> Text:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return Text(shown(value), justify="right" if number else "left")
