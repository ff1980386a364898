"""Pairs of questions, labelled with whether they may share a reply."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Literal

import msgspec

from vectorcache.errors import InvalidInput

Split = Literal["tuning", "held_out"]


class LabelledPair(msgspec.Struct, frozen=True):
    """Two questions and their label.

    Attributes:
        a, b: the questions.
        same: whether a reply to one is correct for the other.
        id: identifies the pair, and decides its split.
        kind: the kind of similarity or difference, such as "negation".
        domain: the topic.
    """

    a: str
    b: str
    same: bool
    id: str = ""
    kind: str = ""
    domain: str = ""

    @property
    def split(self) -> Split:
        """The split by a hash of the id. Half of all pairs are held out from tuning."""
        return "held_out" if sha256(self.id.encode()).digest()[0] % 2 else "tuning"


class _Line(LabelledPair, frozen=True):
    """A line of a file, which may not have a label yet."""

    same: bool | None = None  # type: ignore[assignment]  # narrowed below


def load_pairs(path: str | Path | None = None, split: Split | None = None) -> list[LabelledPair]:
    """Return the labelled pairs of a JSONL file. Lines whose ``same`` is null and unknown fields are ignored.

    Args:
        path: for example a ``ShadowCollector``'s file; None for the pairs in this package (see
            ``docs/llm/labelled-pairs.md``).
        split: the half to return; None for both.

    Raises:
        InvalidInput: a line is not a labelled pair; names the line.
        OSError: the file cannot be read.
    """
    source = files("vectorcache_llm").joinpath("data") / "pairs.jsonl" if path is None else Path(path)
    pairs = _parsed(source.read_text("utf-8"), str(source))
    return [pair for pair in pairs if split in (None, pair.split)]


def _parsed(text: str, source: str) -> Iterator[LabelledPair]:
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            pair = msgspec.json.decode(line, type=_Line)
        except msgspec.MsgspecError as error:
            raise InvalidInput(f"{source}, line {number}", line, f"a labelled pair ({error})") from error
        if pair.same is not None:
            yield LabelledPair(pair.a, pair.b, pair.same, pair.id, pair.kind, pair.domain)
