"""Make the table of values in the chart's README from values.yaml.

    python scripts/chart_docs.py            write it
    python scripts/chart_docs.py --check    say whether that would change anything; exit status 1 if so

A value is documented by the comment right above its key. A key without one, whose value is a map, is only the
heading of the keys below it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHART = Path(__file__).parents[1] / "charts/vectorcache"
BEGIN = "<!-- values: made by scripts/chart_docs.py from values.yaml -->\n"
END = "<!-- end of values -->\n"


class Value(NamedTuple):
    """One value: its path from the top, what it is by default, what its comment says."""

    path: str
    default: Any
    comment: str


def values(text: str) -> list[Value]:
    """All values of a values.yaml, in its order.

    Raises:
        ValueError: one has no comment.
    """
    top = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(top, yaml.MappingNode)
    found = list(_values(top, "", text.splitlines()))
    if bare := [value.path for value in found if not value.comment]:
        raise ValueError(f"no comment above {', '.join(bare)}")
    return found


def _values(mapping: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Value]:
    for key, node in mapping.value:
        path = prefix + key.value
        comment = _comment_above(lines, key.start_mark.line)
        if not comment and isinstance(node, yaml.MappingNode) and node.value:
            yield from _values(node, f"{path}.", lines)
        else:
            yield Value(path, yaml.SafeLoader("").construct_object(node, deep=True), comment)


def _comment_above(lines: list[str], number: int) -> str:
    comment: list[str] = []
    while number and lines[number - 1].lstrip().startswith("#"):
        number -= 1
        comment.insert(0, lines[number].lstrip(" #"))
    return " ".join(comment)


def table(found: list[Value]) -> str:
    """The values as a table in Markdown."""
    rows = [f"| `{path}` | `{json.dumps(default)}` | {comment} |\n" for path, default, comment in found]
    return "".join(["| value | default | what it is |\n", "|---|---|---|\n", *rows])


def with_table(readme: str, made: str) -> str:
    """The README with its table replaced."""
    before, _, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"README.md has no lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Write or check; return the process's exit status."""
    readme = CHART / "README.md"
    now = readme.read_text()
    wanted = with_table(now, table(values((CHART / "values.yaml").read_text())))
    if now == wanted:
        return 0
    if "--check" in arguments:
        sys.stderr.write(
            "charts/vectorcache/README.md is not what values.yaml says: run scripts/chart_docs.py\n"
        )
        return 1
    readme.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
