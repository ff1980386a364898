"""The interface of approximate nearest-neighbour (ANN) indexes, which select candidates in large partitions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from vectorcache.vectors.metric import Floats
from vectorcache.vectors.topk import Rows


class ANNIndex(ABC):
    """An approximate nearest-neighbour index of rows.

    The owner serialises calls, and compares the returned candidates exactly.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows in the index."""

    @abstractmethod
    def add(self, rows: Rows, vectors: Floats) -> None:
        """Add new rows (n,) with their vectors (n, d) of length 1."""

    @abstractmethod
    def remove(self, rows: Rows) -> None:
        """Remove rows. Unknown rows are ignored."""

    @abstractmethod
    def nearest(self, query: Floats, count: int) -> list[int]:
        """Return approximately the ``count`` most similar rows, in any order."""

    @property
    def compared(self) -> int:
        """Maximum number of rows that a search compares, if it grows linearly with the index; 0 for a graph."""
        return 0

    @property
    def needs_rebuild(self) -> bool:
        """Whether the index has degraded and should be rebuilt."""
        return False


class ANNKind(NamedTuple):
    """The kind of ANN index that large partitions use.

    Attributes:
        min_rows: number of entries at which a partition gets an ANN index; smaller ones are searched exactly.
        build: builds an index from rows (n,) and their vectors (n, d).
        candidates: number of candidates to request for k results.
    """

    min_rows: int
    build: Callable[[Rows, Floats], ANNIndex]
    candidates: Callable[[int], int]
