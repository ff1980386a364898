"""Vectors and entries of one partition, by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vectorcache.vectors.metric import Floats, multiplying
from vectorcache.vectors.topk import Rows
from vectorcache_llm.similarity.base import IndexEntry

BLOCK_ROWS = 1024
"""Rows are added a block at a time, because one growing array would be copied as a whole now and then. The first
block begins with one row and doubles: most partitions are small."""


class Table:
    """Rows of unit vectors (d,) float32 with their entries. A row that was dropped is used again when it is freed.

    The event loop writes; ``nearest`` and ``vectors`` may run in a thread meanwhile. What those read of a row that
    changes under them is only good for finding candidates: ``score``, on the event loop, tells what is true.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._blocks: list[Floats] = []
        self._entries: list[IndexEntry | None] = []
        self._row_of: dict[str, int] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def height(self) -> int:
        """Rows that ``nearest`` compares: those that hold an entry, and those that did."""
        return len(self._entries)

    @property
    def rows(self) -> list[int]:
        """Those that hold an entry."""
        return list(self._row_of.values())

    def holds(self, row: int, entry: IndexEntry) -> bool:
        """Whether this very entry still stands there."""
        return self._entries[row] is entry

    def put(self, entry: IndexEntry, vector: Floats) -> int:
        """Keep an entry whose id is not there, with its vector of length 1; return its row."""
        row = self._free.pop() if self._free else self._grow()
        self._blocks[row // BLOCK_ROWS][row % BLOCK_ROWS] = vector
        self._entries[row] = entry
        self._row_of[entry.id] = row
        return row

    def drop(self, id: str) -> int | None:  # noqa: A002 - the field's name
        """Forget an entry; its row, which stays unused until it is freed."""
        row = self._row_of.pop(id, None)
        if row is not None:
            self._entries[row] = None
            self._blocks[row // BLOCK_ROWS][row % BLOCK_ROWS] = np.nan  # beyond everything that is compared
        return row

    def free(self, rows: Sequence[int]) -> None:
        """Rows that were dropped may be used again."""
        self._free.extend(rows)

    def vectors(self, rows: Sequence[int]) -> Floats:
        """A copy of vectors, (n, d)."""
        copy = np.empty((len(rows), self._dimension), dtype=np.float32)
        for place, row in enumerate(rows):
            copy[place] = self._blocks[row // BLOCK_ROWS][row % BLOCK_ROWS]
        return copy

    def nearest(self, query: Floats, count: int) -> Rows:
        """The rows most similar to a query, by comparing all of them."""
        end = len(self._entries)
        with multiplying():
            dots = [np.dot(block, query) for block in self._blocks]
        distances = -np.concatenate(dots)[:end]
        if count >= end:
            return np.arange(end)
        return np.argpartition(distances, count)[:count]  # NaN, which dropped rows give, is behind all else

    def score(self, rows: Sequence[int], query: Floats) -> list[tuple[float, IndexEntry]]:
        """Similarities and entries of those rows that hold one, the most similar first."""
        there = [(row, entry) for row in rows if (entry := self._entries[row]) is not None]
        with multiplying():
            similarities = (self.vectors([row for row, _ in there]) @ query).tolist()
        found = [(similarity, entry) for similarity, (_, entry) in zip(similarities, there, strict=True)]
        found.sort(key=lambda one: (-one[0], one[1].id))
        return found

    def _grow(self) -> int:
        row = len(self._entries)
        if row % BLOCK_ROWS == 0 and row:
            self._blocks.append(self._zeros(BLOCK_ROWS))
        elif row < BLOCK_ROWS and not row & (row - 1):
            wider = self._zeros(max(1, 2 * row))
            wider[:row] = self._blocks[0] if row else 0
            self._blocks = [wider]
        self._entries.append(None)
        return row

    def _zeros(self, rows: int) -> Floats:
        return np.zeros((rows, self._dimension), dtype=np.float32)
