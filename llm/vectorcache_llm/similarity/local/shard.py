"""One in-process partition: its table, and an ANN index once it is large."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import TypeAlias

import numpy as np

from vectorcache.concurrency import Offload, Tasks
from vectorcache.vectors.metric import Floats
from vectorcache.vectors.topk import Rows
from vectorcache_llm.similarity.base import IndexEntry
from vectorcache_llm.similarity.local.ann import ANNIndex, ANNKind
from vectorcache_llm.similarity.local.table import Table

StoredRow: TypeAlias = tuple[int, IndexEntry]
"""A stored entry, with its row first."""

SPARE = 4
"""Candidates beyond k of an exact search, which are scored again because of near ties."""
CHUNK_ROWS = 16
"""Rows added to the ANN index per lock acquisition, which bounds the time that a search waits."""
INLINE_REMOVALS = 128
"""Maximum number of rows that a search removes from the ANN index on the event loop. More are removed in a thread."""
MAX_CHANGES = 4096
"""Rows that may change during a build. Beyond it, ``index`` waits for the build to finish."""


class Shard:
    """The entries of one partition. The event loop owns the shard; long work runs in threads.

    A stored entry is found by an exact search immediately, and by the ANN index once ``index`` has returned. The ANN
    index is built in the background from the rows that exist when the build starts. Rows that change during the build
    are applied before the new index is used.
    """

    def __init__(self, dimension: int, kind: ANNKind | None, tasks: Tasks) -> None:
        self._dimension = dimension
        self._kind = kind
        self._tasks = tasks
        self._table = Table(dimension)
        self._offload = Offload()
        self._lock = asyncio.Lock()  # guards the ANN index
        self._ann: ANNIndex | None = None
        self._indexed: set[int] = set()  # rows in the ANN index
        self._dropped: list[int] = []  # dropped rows that may still be in the ANN index
        self._build: asyncio.Task[None] | None = None
        self._changed: set[int] = set()  # rows changed during a build

    def __len__(self) -> int:
        return len(self._table)

    @property
    def has_ann(self) -> bool:
        """Whether searches use an ANN index."""
        return self._ann is not None

    def put(self, entry: IndexEntry, vector: Floats) -> StoredRow:
        """Store an entry with a new id and its vector of length 1. The caller must ``index`` it afterwards."""
        row = self._table.put(entry, vector)
        self._record_change(row)
        return row, entry

    def drop(self, id: str) -> None:  # noqa: A002 - the field's name
        """Drop an entry if it exists. Searches no longer find it."""
        row = self._table.drop(id)
        if row is None:
            return
        self._record_change(row)
        if self._ann is None:
            self._table.free([row])
        else:
            self._dropped.append(row)

    async def index(self, stored: Sequence[StoredRow]) -> None:
        """Add stored entries to the ANN index. The call must not be cancelled, because a thread may be running."""
        if self._ann is not None:
            for start in range(0, len(stored), CHUNK_ROWS):
                async with self._lock:
                    await self._add(stored[start : start + CHUNK_ROWS])
        self._build_if_due()
        if self._build is not None and len(self._changed) > MAX_CHANGES:
            await asyncio.shield(self._build)

    async def search(self, query: Floats, k: int) -> list[tuple[float, IndexEntry]]:
        """Return the k most similar entries, or a few more, with their similarities, most similar first."""
        rows = await self._candidates(query, k)
        if len(rows) < k:
            work = float(self._table.height * self._dimension)
            found = await self._offload.run(work, self._table.nearest, query, k + SPARE)
            rows = found.tolist()
        return self._table.score(rows, query)

    async def _candidates(self, query: Floats, k: int) -> list[int]:
        """Return the candidates of the ANN index; none if there is no index, or if k is too large for it to help."""
        if self._ann is None or self._kind is None or 4 * self._kind.candidates(k) >= len(self):
            return []
        if len(self._dropped) > INLINE_REMOVALS:
            await self._tasks.complete(self._remove_dropped())
        search = self._search_ann(query, self._kind.candidates(k))
        # A thread that reads the ANN index must hold the lock until it ends, even if the caller was cancelled.
        return await (self._tasks.complete(search) if self._ann.compared else search)

    async def _search_ann(self, query: Floats, count: int) -> list[int]:
        async with self._lock:
            assert self._ann is not None
            if self._dropped:
                self._update(self._take_dropped(), [], None)
            work = float(self._ann.compared * self._dimension)
            return await self._offload.run(work, self._ann.nearest, query, count)

    def _record_change(self, row: int) -> None:
        if self._build is not None:
            self._changed.add(row)

    def _take_dropped(self) -> list[int]:
        dropped, self._dropped = self._dropped, []
        return dropped

    async def _remove_dropped(self) -> None:
        async with self._lock:
            await asyncio.to_thread(self._update, self._take_dropped(), [], None)

    async def _add(self, stored: Sequence[StoredRow]) -> None:
        rows = [row for row, entry in stored if row not in self._indexed and self._table.holds(row, entry)]
        await asyncio.to_thread(self._update, self._take_dropped(), rows, self._table.vectors(rows))

    def _update(self, dropped: list[int], rows: list[int], vectors: Floats | None) -> None:
        """Remove dropped rows from the ANN index, free them for reuse, and add new rows. Requires the lock."""
        assert self._ann is not None
        indexed = self._indexed.intersection(dropped)
        if indexed:
            self._ann.remove(_array(indexed))
            self._indexed -= indexed
        self._table.free(dropped)
        if rows and vectors is not None:
            self._ann.add(_array(rows), vectors)
            self._indexed.update(rows)

    def _build_if_due(self) -> None:
        if self._build is not None or self._kind is None or len(self) < self._kind.min_rows:
            return
        if self._ann is None or self._ann.needs_rebuild:
            self._build = self._tasks.start(self._build_ann(self._kind, self._table.rows))

    async def _build_ann(self, kind: ANNKind, rows: list[int]) -> None:
        try:
            ann, indexed = await asyncio.to_thread(self._construct, kind, rows)
            while not await self._install(ann, indexed):
                changed, self._changed = self._changed, set()
                await asyncio.to_thread(self._catch_up, ann, indexed, changed)
        finally:
            self._build = None
            self._changed.clear()

    async def _install(self, ann: ANNIndex, indexed: set[int]) -> bool:
        """Replace the ANN index by a new one, unless rows have changed that the new one does not reflect yet."""
        async with self._lock:
            if self._changed:
                return False
            self._ann, self._indexed = ann, indexed
            self._table.free(self._take_dropped())
            return True

    def _construct(self, kind: ANNKind, rows: list[int]) -> tuple[ANNIndex, set[int]]:
        present, vectors = self._present(rows)
        return kind.build(present, vectors), set(present.tolist())

    def _catch_up(self, ann: ANNIndex, indexed: set[int], changed: set[int]) -> None:
        stale = indexed & changed
        if stale:
            ann.remove(_array(stale))
            indexed -= stale
        present, vectors = self._present(list(changed))
        if len(present):
            ann.add(present, vectors)
            indexed.update(present.tolist())

    def _present(self, rows: list[int]) -> tuple[Rows, Floats]:
        """Return the rows that hold an entry, and their vectors."""
        vectors = self._table.vectors(rows)
        mask = ~np.isnan(vectors[:, 0])
        return _array(rows)[mask], vectors[mask]


def _array(rows: Collection[int]) -> Rows:
    return np.fromiter(rows, dtype=np.int64, count=len(rows))
