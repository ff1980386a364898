"""docs/tutorial.md: the commands of its part on one machine, run as they are written."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = (Path(__file__).parents[2] / "docs/tutorial.md").read_text()


def commands_of(*titles: str) -> str:
    sections = {
        section.partition("\n")[0]: section for section in re.split(r"^## ", TUTORIAL, flags=re.MULTILINE)
    }
    return "".join(
        block
        for title in titles
        for block in re.findall(r"^```sh\n(.*?)^```$", sections[title], re.DOTALL | re.MULTILINE)
    )


def install(folder: Path) -> None:
    """Write the commands ``python`` and ``vectorcache`` of this environment."""
    folder.mkdir()
    main = "from vectorcache_tools.cli import main; main()"
    for name, options in (("python", ""), ("vectorcache", f"-c '{main}'")):
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {options} "$@"\n')
        (folder / name).chmod(0o755)


@pytest.mark.exhaustive
def test_the_commands_for_one_machine(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = commands_of("Build a collection", "Search it on this machine")
    assert script.count("vectorcache ") == 4
    script = script.replace("http://127.0.0.1:8100", f"http://127.0.0.1:{port}")
    script = script.replace("vectorcache local", f"vectorcache local --port {port}")
    install(tmp_path / "bin")
    (tmp_path / "build/tutorial").mkdir(parents=True)
    done = subprocess.run(
        ["bash", "-euxc", f"{script}\nwait"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
            "VECTORCACHE_ROUTER": f"http://127.0.0.1:{port}",
        },
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^│ \d │ (\w+)", done.stdout, re.MULTILINE)
    shown = re.findall(r"^│ \d │ (\w+)", TUTORIAL, re.MULTILINE)
    assert rows[0] == shown[0] == "king"
    assert len(set(rows) & set(shown)) >= 4
    assert "'queen'" in done.stdout
