"""The ``vectorcache`` command. Each subcommand is a module; errors raised on purpose become one line here.

Other packages add theirs by the entry-point group ``vectorcache.commands``: a name and a typer app each. What a
command needs is installed by the extra of its name.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import typer
from typer.core import TyperGroup

from vectorcache.errors import VectorCacheError
from vectorcache_tools.cli import build, collections, demo, local, search

FAILED = 2
COMMANDS = "vectorcache.commands"
"""The entry-point group of other packages' commands."""


class _Commands(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        """Our commands, then those of other packages."""
        return [*super().list_commands(ctx), *sorted(entry_points(group=COMMANDS).names)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command; a package's are loaded when they are named, so that others need not wait for them."""
        ours = super().get_command(ctx, cmd_name)
        for found in () if ours else entry_points(group=COMMANDS, name=cmd_name):
            try:
                command = typer.main.get_command(found.load())
            except ModuleNotFoundError as error:
                command = _lacking(cmd_name, error)
            command.name = cmd_name  # which help lists
            return command
        return ours

    def invoke(self, ctx: Any) -> Any:
        """Run a command; what it raises on purpose is told without a trace."""
        try:
            return super().invoke(ctx)
        except VectorCacheError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(FAILED) from error


def _lacking(name: str, error: ModuleNotFoundError) -> Any:
    """A command whose optional dependencies are not installed: not listed, and it says what to do."""
    lacking = typer.Typer()
    anything = {"ignore_unknown_options": True, "allow_extra_args": True}

    @lacking.command(name, hidden=True, add_help_option=False, context_settings=anything)
    def tell() -> None:
        install = f"install it by: pip install 'vectorcache[{name}]'"
        raise VectorCacheError(f"{name} needs {error.name}, which is not installed; {install}") from error

    return typer.main.get_command(lacking)


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
