"""Options shared by several commands, and the formatting of values."""

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
        help="URL of the blob store: azure://account/container/prefix, file:///path, or a path.",
    ),
]
RouterUrl: TypeAlias = Annotated[
    str, typer.Option("--router", envvar="VECTORCACHE_ROUTER", help="Base URL of the router.")
]
Collection: TypeAlias = Annotated[str, typer.Argument(help="Name of the collection.", show_default=False)]
Version: TypeAlias = Annotated[
    int | None, typer.Option("--version", help="Number of the version.", show_default="the served version")
]


def print_table(
    columns: Iterable[str], rows: Iterable[Iterable[object]], *, title: str | None = None
) -> None:
    """Print a table on standard output. Numbers are right-aligned."""
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    Console().print(table)


def print_facts(facts: Iterable[tuple[str, object]], *, title: str | None = None) -> None:
    """Print names and values on standard output, one pair per line."""
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    for name, value in facts:
        table.add_row(Text(name, style="dim"), Text(shown(value)))
    Console().print(table)


def shown(value: object) -> str:
    """Return a value in human-readable form."""
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
    """Return a description of the quantized codes."""
    if codes is None:
        return "none"
    bits = f"{codes.bits} bit{'s' * (codes.bits > 1)} per component"
    return f"{bits}, bounds {codes.deviations:.1f} standard errors wide"


def readable_sample(search: Calibration) -> str:
    """Return a description of the queries on which recall was measured."""
    if search.sample == "queries":
        return f"{search.queries} given queries"
    return f"{search.queries} held-out vectors"


def readable_bytes(size: int) -> str:
    """Return a size in bytes in human-readable form."""
    unit, name = next(((u, n) for u, n in ((2**30, "GiB"), (2**20, "MiB")) if size >= u), (2**10, "KiB"))
    return f"{size / unit:,.1f} {name}"


def _cell(value: object) -> Text:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return Text(shown(value), justify="right" if number else "left")
