"""What says which rows of a partition may be the most similar, when comparing all of them takes too long."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from vectorcache.vectors.metric import Floats
from vectorcache.vectors.topk import Rows


class ANNIndex(ABC):
    """An approximate index of rows. One call at a time; its owner sees to that.

    The similarities are none of its business: its owner compares the candidates exactly.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Rows that it knows."""

    @abstractmethod
    def add(self, rows: Rows, vectors: Floats) -> None:
        """Learn rows (n,) that it does not know, with their vectors (n, d) of length 1."""

    @abstractmethod
    def remove(self, rows: Rows) -> None:
        """Forget rows; those that it does not know are passed over."""

    @abstractmethod
    def nearest(self, query: Floats, count: int) -> list[int]:
        """About the ``count`` most similar rows, in no order."""

    @property
    def compared(self) -> int:
        """Rows that it compares at most, where that grows with all it knows; 0 for a graph, which is quick."""
        return 0

    @property
    def needs_rebuild(self) -> bool:
        """Whether one built anew would be better."""
        return False


class ANNKind(NamedTuple):
    """How partitions get their ann.

    Attributes:
        min_rows: entries from which on a partition has one; smaller ones are compared as a whole.
        build: makes one of rows (n,) and their vectors (n, d).
        candidates: how many rows to ask it for, of k that are wanted.
    """

    min_rows: int
    build: Callable[[Rows, Floats], ANNIndex]
    candidates: Callable[[int], int]
