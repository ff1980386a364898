import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import Result

COMMANDS = [
    ("build",),
    ("search",),
    ("local",),
    ("demo",),
    *(
        ("collections", name)
        for name in ("list", "show", "versions", "pin", "unpin", "rollback", "delete-old", "verify")
    ),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(run, command: tuple[str, ...]) -> None:
    result: Result = run(*command, "--help")
    assert result.exit_code == 0
    assert f"Example{'s' if command == ('search',) else ''}: vectorcache {' '.join(command)}" in result.output


def test_no_command_lists_them_all(run) -> None:
    listed = run().output
    assert all(command[0] in listed for command in COMMANDS)


def test_an_error_is_one_line_on_standard_error_and_exit_code_2(run, tmp_path: Path) -> None:
    result: Result = run("collections", "show", "nowhere", "--blobs", tmp_path)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == "error: collection 'nowhere' does not exist\n"


def test_the_program_is_installed(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("vectorcache")
    done = subprocess.run(
        [program, "collections", "list"],
        env={**os.environ, "VECTORCACHE_BLOB_URL": "ftp://nowhere"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: url: 'ftp://nowhere' is not allowed")
    assert b"Traceback" not in done.stderr
