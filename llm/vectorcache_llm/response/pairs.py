"""Pairs of questions, and whether the two may share a reply."""

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
    """Two questions.

    Attributes:
        a, b: the questions.
        same: whether a reply to one is right for the other.
        id: names the pair, and decides its split.
        kind: what is alike or different, such as "negation".
        domain: what it is about.
    """

    a: str
    b: str
    same: bool
    id: str = ""
    kind: str = ""
    domain: str = ""

    @property
    def split(self) -> Split:
        """Half of all pairs, by a hash of the id, are held out from all tuning."""
        return "held_out" if sha256(self.id.encode()).digest()[0] % 2 else "tuning"


class _Line(LabelledPair, frozen=True):
    """A line of a file: what has no label yet is passed over."""

    same: bool | None = None  # type: ignore[assignment]  # narrowed below


def load_pairs(path: str | Path | None = None, split: Split | None = None) -> list[LabelledPair]:
    """Labelled pairs of a JSONL file; lines whose ``same`` is null are passed over, unknown fields too.

    Args:
        path: such as a ``ShadowCollector``'s; None for the pairs that come with this package (see
            ``docs/llm/labelled-pairs.md``).
        split: only this half.

    Raises:
        InvalidInput: a line is no such pair; names it.
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
