"""README.md shows what examples/quickstart/run.sh does, and that is what the end-to-end tests run."""

from __future__ import annotations

import re
from pathlib import Path

import vectorcache

ROOT = Path(__file__).resolve().parents[3]
QUICK_START = ROOT / "examples/quickstart"


def test_the_readme_shows_the_commands_of_the_quick_start() -> None:
    script = (QUICK_START / "run.sh").read_text()
    commands = script.partition('cd "$(dirname "$0")/../.."\n')[2].strip()
    assert len(commands.splitlines()) > 5
    assert commands in (ROOT / "README.md").read_text()


def test_the_tutorial_shows_the_same_commands() -> None:
    commands = (QUICK_START / "run.sh").read_text().partition('cd "$(dirname "$0")/../.."\n')[2].split("\n")
    lines = (ROOT / "docs/tutorial.md").read_text().splitlines()
    wanted = [command for command in commands if command]
    assert [line for line in lines if line in wanted] == wanted


def test_the_files_that_it_applies_are_there() -> None:
    named = re.findall(r"apply -f (\S+)", (QUICK_START / "run.sh").read_text())
    assert len(named) == 4
    assert all((ROOT / name).is_file() for name in named)


def test_its_images_are_those_of_this_version() -> None:
    for file in QUICK_START.glob("*.yaml"):
        for image, tag in re.findall(r"image: (vectorcache/\w+):(\S+)", file.read_text()):
            assert tag == vectorcache.__version__, f"{file.name}: {image}"
