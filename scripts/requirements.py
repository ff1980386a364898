"""Print what extras of this project need, one requirement a line, without the project itself.

An image installs these before any source code is copied into it, so that a change of the code rebuilds in seconds.

    python scripts/requirements.py node
    python scripts/requirements.py azure build
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def requirements(project: Mapping[str, Any], extras: Iterable[str]) -> list[str]:
    """The project's own dependencies and those of the extras, sorted; an extra may name others of the project.

    Raises:
        KeyError: the project has no such extra.
    """
    return sorted({*project["dependencies"], *_of(project, extras)})


def _of(project: Mapping[str, Any], extras: Iterable[str]) -> Iterator[str]:
    for extra in extras:
        for requirement in project["optional-dependencies"][extra]:
            if own := re.fullmatch(rf"{re.escape(project['name'])}\[(.+)\]", requirement):
                yield from _of(project, own[1].split(","))
            else:
                yield requirement


if __name__ == "__main__":
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    print("\n".join(requirements(project, sys.argv[1:])))  # noqa: T201 - this is what it is for
