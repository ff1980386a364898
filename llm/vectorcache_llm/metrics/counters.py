"""Counters with labels whose number of values is bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

OTHER = "other"
"""The label value that stands for all values beyond the bound."""

Labels: TypeAlias = tuple[str, ...]


class Kind(NamedTuple):
    """The description and the labels of a counter."""

    about: str
    labels: Labels


KINDS = {
    "lookups": Kind("Lookups by outcome", ("cache", "tier", "tenant", "outcome")),
    "stores": Kind("Stored values", ("cache", "tier", "tenant")),
    "stored_bytes": Kind("Bytes of stored values", ("cache", "tier", "tenant")),
    "removals": Kind("Removed entries by reason", ("cache", "tier", "reason")),
    "failures": Kind("Failures of backends", ("cache", "tier", "operation", "error")),
    "saved_calls": Kind("Calls to models avoided by hits", ("tenant", "model")),
    "saved_prompt_tokens": Kind("Prompt tokens avoided by hits", ("tenant", "model")),
    "saved_completion_tokens": Kind("Completion tokens avoided by hits", ("tenant", "model")),
}


class Bound:
    """A bound on label values: the first ``limit`` values keep their names, and the rest become ``OTHER``."""

    def __init__(self, limit: int, known: Iterable[str] = ()) -> None:
        self._names = set(known)
        self._limit = limit + len(self._names)

    def __call__(self, value: str) -> str:
        """Return the label value to count under."""
        if value not in self._names:
            if len(self._names) >= self._limit:
                return OTHER
            self._names.add(value)
        return value


class Counters:
    """One counter for each of ``KINDS``. ``bounds`` limits the values of some labels; the others have few values."""

    def __init__(self, bounds: Mapping[str, Bound]) -> None:
        self._bounds = bounds
        self._counts: dict[str, Counter[Labels]] = {kind: Counter() for kind in KINDS}

    def add(self, kind: str, *values: str, by: int = 1) -> None:
        """Increase a counter."""
        counts = self._counts[kind]
        if values not in counts:  # known values are already bounded
            values = self.bounded(KINDS[kind].labels, values)
        counts[values] += by

    def bounded(self, labels: Labels, values: Iterable[str]) -> Labels:
        """Return the label values to count under."""
        bounds = self._bounds
        return tuple(
            bounds[label](value) if label in bounds else value
            for label, value in zip(labels, values, strict=True)
        )

    def rows(self, kind: str) -> Iterator[tuple[dict[str, str], int]]:
        """Return every labelled count of a kind."""
        labels = KINDS[kind].labels
        return (
            (dict(zip(labels, values, strict=True)), count) for values, count in self._counts[kind].items()
        )

    def dump(self) -> dict[str, Any]:
        """Return all counts as JSON values."""
        return {
            kind: [[*values, count] for values, count in counts.items()]
            for kind, counts in self._counts.items()
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Add the counts of a ``dump``."""
        for kind, rows in state.items():
            for *values, count in rows:
                self.add(kind, *values, by=count)
