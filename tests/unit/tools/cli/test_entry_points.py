import re
import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType

import pytest
import typer

from vectorcache.errors import Unavailable
from vectorcache_tools import cli

commands = typer.Typer(help="Commands of another package.")


@commands.command()
def hello(name: str) -> None:
    """Greet somebody."""
    typer.echo(f"hello {name}")


@commands.command()
def fail() -> None:
    """Do not do it."""
    raise Unavailable("not today")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packages with commands, one of which lacks what it needs."""
    module = ModuleType("other_package")
    module.app = commands  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "other_package", module)
    points = EntryPoints(
        [
            EntryPoint("other", "other_package:app", cli.COMMANDS),
            EntryPoint("lacking", "no_such_package.cli:app", cli.COMMANDS),
        ]
    )
    monkeypatch.setattr(cli, "entry_points", points.select)


def test_a_package_adds_its_commands(run) -> None:
    assert run("other", "hello", "you").output == "hello you\n"


def test_their_errors_are_one_line_too(run) -> None:
    result = run("other", "fail")
    assert (result.exit_code, result.stderr) == (2, "error: not today\n")


def test_commands_with_missing_dependencies_are_not_listed(run) -> None:
    listed = run("--help").output
    assert re.search(r"\bother +Commands of another package\.", listed)
    assert "lacking" not in listed


@pytest.mark.parametrize("arguments", [(), ("demo", "--json"), ("--help",)])
def test_a_command_with_missing_dependencies_explains_the_installation(run, arguments) -> None:
    result = run("lacking", *arguments)
    assert result.exit_code == 2
    assert "no_such_package" in result.stderr
    assert "pip install 'vectorcache[lacking]'" in result.stderr
