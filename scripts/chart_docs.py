"""Generate the table of values in the chart's README from values.yaml.

    python scripts/chart_docs.py            write the table
    python scripts/chart_docs.py --check    exit with status 1 if the table is outdated

A value is documented by the comment directly above its key. A key without a comment whose value is a map is only a
group of the keys below it.
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
    """One value: its path, its default, and its comment."""

    path: str
    default: Any
    comment: str


def values(text: str) -> list[Value]:
    """Return all values of a values.yaml in order.

    Raises:
        ValueError: a value has no comment.
    """
    top = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(top, yaml.MappingNode)
    found = list(_values(top, "", text.splitlines()))
    if bare := [value.path for value in found if not value.comment]:
        raise ValueError(f"values without a comment: {', '.join(bare)}")
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
    """Return the values as a Markdown table."""
    rows = [f"| `{path}` | `{json.dumps(default)}` | {comment} |\n" for path, default, comment in found]
    return "".join(["| value | default | what it is |\n", "|---|---|---|\n", *rows])


def with_table(readme: str, made: str) -> str:
    """Return the README with its table replaced."""
    before, _, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"README.md does not contain the lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Write or check the table. Return the exit status."""
    readme = CHART / "README.md"
    now = readme.read_text()
    wanted = with_table(now, table(values((CHART / "values.yaml").read_text())))
    if now == wanted:
        return 0
    if "--check" in arguments:
        sys.stderr.write("charts/vectorcache/README.md is outdated: run scripts/chart_docs.py\n")
        return 1
    readme.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
