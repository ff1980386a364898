"""The ``vectorcache`` command. Each subcommand is a module; errors raised on purpose become one line here."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from vectorcache.errors import VectorCacheError
from vectorcache_client.cli import build, collections, demo, local, search

FAILED = 2


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run a command; what it raises on purpose is told without a trace."""
        try:
            return super().invoke(ctx)
        except VectorCacheError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(FAILED) from error


app = typer.Typer(
    name="vectorcache",
    cls=_Commands,
    help="Nearest-neighbour search over vector collections that live in blob storage and outgrow memory.",
    epilog="Start here: vectorcache demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("build", epilog=build.EXAMPLE)(build.build)
app.add_typer(collections.app, name="collections")
app.command("search", epilog=search.EXAMPLE)(search.search)
app.command("local", epilog=local.EXAMPLE)(local.local)
app.command("demo", epilog=demo.EXAMPLE)(demo.demo)


def main() -> None:
    """Run the command that the process's arguments name."""
    app()
