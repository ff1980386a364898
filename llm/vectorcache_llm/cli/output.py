"""Answers for people and for programs."""

from __future__ import annotations

from typing import Any

import msgspec
import typer

from vectorcache_llm.manager import Report

NOTHING = 1
"""The exit code where nothing was found, or not all was done."""


def print_json(value: Any) -> None:
    """One line of JSON on standard output; what is a struct or a dataclass is an object."""
    typer.echo(msgspec.json.encode(value).decode())


def note(text: str) -> None:
    """A line beside the answer: on standard error, so that the answer may be piped."""
    typer.echo(text, err=True)


def print_report(report: Report, done: str, *, json: bool) -> None:
    """What was done in each cache; ends the command with ``NOTHING`` where not all of it was.

    Args:
        report: what was done.
        done: the word for it, such as "deleted".
        json: for programs.
    """
    if json:
        print_json({**msgspec.to_builtins(report), "total": report.total, "ok": report.ok})
    else:
        for cache, count in report.counts.items():
            typer.echo(f"{cache}: {done} {count:,}")
        for cache, error in report.errors.items():
            note(f"{cache}: {error}")
        if not report.complete:
            note("the file ends early, or was not whole when it was written; what it has is kept")
    if not report.ok:
        raise typer.Exit(NOTHING)
