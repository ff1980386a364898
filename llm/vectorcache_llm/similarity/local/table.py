"""The vectors and entries of one partition, by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vectorcache.vectors.metric import Floats, multiplying
from vectorcache.vectors.topk import Rows
from vectorcache_llm.similarity.base import IndexEntry

BLOCK_ROWS = 1024
"""Rows of a block. Rows are added in blocks, since a single growing array would have to be copied as a whole. The first
block starts with one row and doubles, because most partitions are small."""


class Table:
    """Rows of unit vectors (d,) float32 with their entries. A dropped row can be reused once it is freed.

    Only the event loop writes. ``nearest`` and ``vectors`` may run in a thread at the same time and may read a row
    that is being changed, so their results are candidates only. ``score`` runs on the event loop and is exact.
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
        """Number of rows that ``nearest`` compares, including dropped ones."""
        return len(self._entries)

    @property
    def rows(self) -> list[int]:
        """Rows that hold an entry."""
        return list(self._row_of.values())

    def holds(self, row: int, entry: IndexEntry) -> bool:
        """Return whether the row still holds this entry object."""
        return self._entries[row] is entry

    def put(self, entry: IndexEntry, vector: Floats) -> int:
        """Store an entry with a new id and its vector of length 1, and return its row."""
        row = self._free.pop() if self._free else self._grow()
        self._blocks[row // BLOCK_ROWS][row % BLOCK_ROWS] = vector
        self._entries[row] = entry
        self._row_of[entry.id] = row
        return row

    def drop(self, id: str) -> int | None:  # noqa: A002 - the field's name
        """Drop an entry, and return its row, which stays unused until it is freed."""
        row = self._row_of.pop(id, None)
        if row is not None:
            self._entries[row] = None
            self._blocks[row // BLOCK_ROWS][row % BLOCK_ROWS] = np.nan  # sorts behind all other rows
        return row

    def free(self, rows: Sequence[int]) -> None:
        """Allow dropped rows to be reused."""
        self._free.extend(rows)

    def vectors(self, rows: Sequence[int]) -> Floats:
        """Return a copy of the vectors of rows, (n, d)."""
        copy = np.empty((len(rows), self._dimension), dtype=np.float32)
        for place, row in enumerate(rows):
            copy[place] = self._blocks[row // BLOCK_ROWS][row % BLOCK_ROWS]
        return copy

    def nearest(self, query: Floats, count: int) -> Rows:
        """Return the ``count`` rows most similar to a query, in any order, by comparing all rows."""
        end = len(self._entries)
        with multiplying():
            dots = [np.dot(block, query) for block in self._blocks]
        distances = -np.concatenate(dots)[:end]
        if count >= end:
            return np.arange(end)
        return np.argpartition(distances, count)[:count]  # dropped rows have NaN, which sorts last

    def score(self, rows: Sequence[int], query: Floats) -> list[tuple[float, IndexEntry]]:
        """Return similarity and entry of the rows that hold an entry, most similar first."""
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
