"""The ``vectorcache`` command. Each subcommand is a module. Expected errors are printed as one line here.

Other packages add commands through the entry-point group ``vectorcache.commands``, with a name and a typer app each.
The dependencies of such a command are installed by the extra of the same name.
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
"""The entry-point group for commands of other packages."""


class _Commands(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        """Return the built-in commands, followed by those of other packages."""
        return [*super().list_commands(ctx), *sorted(entry_points(group=COMMANDS).names)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command. Commands of other packages are imported on use, so that they do not slow down others."""
        builtin = super().get_command(ctx, cmd_name)
        for found in () if builtin else entry_points(group=COMMANDS, name=cmd_name):
            try:
                command = typer.main.get_command(found.load())
            except ModuleNotFoundError as error:
                command = _not_installed(cmd_name, error)
            command.name = cmd_name  # shown by --help
            return command
        return builtin

    def invoke(self, ctx: Any) -> Any:
        """Run a command. Expected errors are printed without a traceback."""
        try:
            return super().invoke(ctx)
        except VectorCacheError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(FAILED) from error


def _not_installed(name: str, error: ModuleNotFoundError) -> Any:
    """Return a placeholder for a command with missing dependencies. It is hidden, and explains how to install them."""
    placeholder = typer.Typer()
    anything = {"ignore_unknown_options": True, "allow_extra_args": True}

    @placeholder.command(name, hidden=True, add_help_option=False, context_settings=anything)
    def fail() -> None:
        install = f"to install it, run: pip install 'vectorcache[{name}]'"
        raise VectorCacheError(f"{name} needs {error.name}, which is not installed; {install}") from error

    return typer.main.get_command(placeholder)


app = typer.Typer(
    name="vectorcache",
    cls=_Commands,
    help="Nearest-neighbour search over vector collections that are stored in blob storage and exceed memory.",
    epilog="To get started, run: vectorcache demo",
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
    """Run the command given by the arguments of the process."""
    app()
