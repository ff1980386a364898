"""Counters with labels, and a bound on how many values a label has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

OTHER = "other"
"""What all values of a label beyond the bound are called."""

Labels: TypeAlias = tuple[str, ...]


class Kind(NamedTuple):
    """What a counter counts, and by which labels."""

    about: str
    labels: Labels


KINDS = {
    "lookups": Kind("Look-ups, by how they ended", ("cache", "tier", "tenant", "outcome")),
    "stores": Kind("Values that were stored", ("cache", "tier", "tenant")),
    "stored_bytes": Kind("Bytes of the values that were stored", ("cache", "tier", "tenant")),
    "removals": Kind("Entries that left, by why", ("cache", "tier", "reason")),
    "failures": Kind("Failures of backends", ("cache", "tier", "operation", "error")),
    "saved_calls": Kind("Calls to models that were saved", ("tenant", "model")),
    "saved_prompt_tokens": Kind("Tokens that need not be sent", ("tenant", "model")),
    "saved_completion_tokens": Kind("Tokens that need not be made", ("tenant", "model")),
}


class Bound:
    """The first ``limit`` values that come keep their names, the rest are ``OTHER``."""

    def __init__(self, limit: int, known: Iterable[str] = ()) -> None:
        self._names = set(known)
        self._limit = limit + len(self._names)

    def __call__(self, value: str) -> str:
        """The name to count under."""
        if value not in self._names:
            if len(self._names) >= self._limit:
                return OTHER
            self._names.add(value)
        return value


class Counters:
    """One counter for each of ``KINDS``; ``bounds`` hold labels' values to a number, others' are few."""

    def __init__(self, bounds: Mapping[str, Bound]) -> None:
        self._bounds = bounds
        self._counts: dict[str, Counter[Labels]] = {kind: Counter() for kind in KINDS}

    def add(self, kind: str, *values: str, by: int = 1) -> None:
        """Count."""
        counts = self._counts[kind]
        if values not in counts:  # what is counted already is bounded already
            values = self.bounded(KINDS[kind].labels, values)
        counts[values] += by

    def bounded(self, labels: Labels, values: Iterable[str]) -> Labels:
        """The values as they are counted."""
        bounds = self._bounds
        return tuple(
            bounds[label](value) if label in bounds else value
            for label, value in zip(labels, values, strict=True)
        )

    def rows(self, kind: str) -> Iterator[tuple[dict[str, str], int]]:
        """Every labelled count of a kind."""
        labels = KINDS[kind].labels
        return (
            (dict(zip(labels, values, strict=True)), count) for values, count in self._counts[kind].items()
        )

    def dump(self) -> dict[str, Any]:
        """All counts, as JSON values."""
        return {
            kind: [[*values, count] for values, count in counts.items()]
            for kind, counts in self._counts.items()
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Add what ``dump`` gave."""
        for kind, rows in state.items():
            for *values, count in rows:
                self.add(kind, *values, by=count)
