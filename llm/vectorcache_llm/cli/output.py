"""Output as text or JSON."""

from __future__ import annotations

from typing import Any

import msgspec
import typer

from vectorcache_llm.manager import Report

NOTHING = 1
"""Exit code of a command that found nothing or was only partly done."""


def print_json(value: Any) -> None:
    """Print one line of JSON to standard output. Structs and dataclasses become objects."""
    typer.echo(msgspec.json.encode(value).decode())


def note(text: str) -> None:
    """Print a remark to standard error, so that it is not part of a pipe."""
    typer.echo(text, err=True)


def print_report(report: Report, done: str, *, json: bool) -> None:
    """Print the counts of each cache. Exit with ``NOTHING`` if the operation was only partly done.

    Args:
        report: result of the operation.
        done: past participle for the output, such as "deleted".
        json: whether to print JSON.
    """
    if json:
        print_json({**msgspec.to_builtins(report), "total": report.total, "ok": report.ok})
    else:
        for cache, count in report.counts.items():
            typer.echo(f"{cache}: {done} {count:,}")
        for cache, error in report.errors.items():
            note(f"{cache}: {error}")
        if not report.complete:
            note("the file ends early or its export was incomplete; its entries were kept")
    if not report.ok:
        raise typer.Exit(NOTHING)
