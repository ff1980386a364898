"""Print the requirements of extras of this project, one per line, without the project itself.

Images install these before source code is copied, so that an image is rebuilt in seconds after a change of the code.

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
    """Return the dependencies of the project and of the extras, sorted. Extras may refer to other extras.

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
    print("\n".join(requirements(project, sys.argv[1:])))  # noqa: T201 - printing is the purpose of this script
