"""One partition in process: its table, and a ann once it is large."""

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

Kept: TypeAlias = tuple[int, IndexEntry]
"""An entry that was kept, and its row."""

SPARE = 4
"""Rows beyond k that an exact search looks at twice: room for near ties."""
CHUNK_ROWS = 16
"""Rows that a ann learns at a time; a search waits for no more than those."""
INLINE_REMOVALS = 128
"""Rows that a ann forgets within a search; more are forgotten in a thread first."""
MOST_CHANGES = 4096
"""Rows that may change while a ann is built; who adds more waits for it."""


class Shard:
    """The entries of one partition. The event loop owns it; long work is done in threads.

    What is kept is found at once by exact search, and by a ann once ``index`` returns. A ann is built aside,
    from what stands there when its build begins; the rows that change meanwhile are caught up with before it is used.
    """

    def __init__(self, dimension: int, kind: ANNKind | None, tasks: Tasks) -> None:
        self._dimension = dimension
        self._kind = kind
        self._tasks = tasks
        self._table = Table(dimension)
        self._offload = Offload()
        self._lock = asyncio.Lock()  # of the ann
        self._ann: ANNIndex | None = None
        self._known: set[int] = set()  # to the ann
        self._gone: list[int] = []  # dropped, and perhaps known to the ann still
        self._build: asyncio.Task[None] | None = None
        self._changed: set[int] = set()  # while a ann is built

    def __len__(self) -> int:
        return len(self._table)

    @property
    def has_ann(self) -> bool:
        """Whether searches go by a ann by now."""
        return self._ann is not None

    def keep(self, entry: IndexEntry, vector: Floats) -> Kept:
        """Keep an entry whose id is not there, with its vector of length 1; ``index`` it afterwards."""
        row = self._table.put(entry, vector)
        self._note(row)
        return row, entry

    def drop(self, id: str) -> None:  # noqa: A002 - the field's name
        """Forget an entry, if it is there; no search finds it from now on."""
        row = self._table.drop(id)
        if row is None:
            return
        self._note(row)
        if self._ann is None:
            self._table.free([row])
        else:
            self._gone.append(row)

    async def index(self, kept: Sequence[Kept]) -> None:
        """Make a ann know what was kept. To be run to its end: a thread may be at work."""
        if self._ann is not None:
            for start in range(0, len(kept), CHUNK_ROWS):
                async with self._lock:
                    await self._learn(kept[start : start + CHUNK_ROWS])
        self._build_if_due()
        if self._build is not None and len(self._changed) > MOST_CHANGES:
            await asyncio.shield(self._build)

    async def search(self, query: Floats, k: int) -> list[tuple[float, IndexEntry]]:
        """The k most similar or a few more, with their similarities, the most similar first."""
        rows = await self._candidates(query, k)
        if len(rows) < k:
            work = float(self._table.height * self._dimension)
            found = await self._offload.run(work, self._table.nearest, query, k + SPARE)
            rows = found.tolist()
        return self._table.score(rows, query)

    async def _candidates(self, query: Floats, k: int) -> list[int]:
        """What the ann says; nothing where there is none, or so much is wanted that it is of no use."""
        if self._ann is None or self._kind is None or 4 * self._kind.candidates(k) >= len(self):
            return []
        if len(self._gone) > INLINE_REMOVALS:
            await self._tasks.complete(self._forget())
        asking = self._ask(query, self._kind.candidates(k))
        # A thread that reads the ann keeps the lock to its end, even if nobody waits for the answer any more.
        return await (self._tasks.complete(asking) if self._ann.compared else asking)

    async def _ask(self, query: Floats, count: int) -> list[int]:
        async with self._lock:
            assert self._ann is not None
            if self._gone:
                self._update(self._taken(), [], None)
            work = float(self._ann.compared * self._dimension)
            return await self._offload.run(work, self._ann.nearest, query, count)

    def _note(self, row: int) -> None:
        if self._build is not None:
            self._changed.add(row)

    def _taken(self) -> list[int]:
        gone, self._gone = self._gone, []
        return gone

    async def _forget(self) -> None:
        async with self._lock:
            await asyncio.to_thread(self._update, self._taken(), [], None)

    async def _learn(self, kept: Sequence[Kept]) -> None:
        rows = [row for row, entry in kept if row not in self._known and self._table.holds(row, entry)]
        await asyncio.to_thread(self._update, self._taken(), rows, self._table.vectors(rows))

    def _update(self, gone: list[int], rows: list[int], vectors: Floats | None) -> None:
        """Under the lock: what is gone leaves the ann, whereupon its rows may be used again; new rows come in."""
        assert self._ann is not None
        known = self._known.intersection(gone)
        if known:
            self._ann.remove(_array(known))
            self._known -= known
        self._table.free(gone)
        if rows and vectors is not None:
            self._ann.add(_array(rows), vectors)
            self._known.update(rows)

    def _build_if_due(self) -> None:
        if self._build is not None or self._kind is None or len(self) < self._kind.min_rows:
            return
        if self._ann is None or self._ann.needs_rebuild:
            self._build = self._tasks.start(self._build_ann(self._kind, self._table.rows))

    async def _build_ann(self, kind: ANNKind, rows: list[int]) -> None:
        try:
            ann, known = await asyncio.to_thread(self._built, kind, rows)
            while not await self._taken_over(ann, known):
                changed, self._changed = self._changed, set()
                await asyncio.to_thread(self._catch_up, ann, known, changed)
        finally:
            self._build = None
            self._changed.clear()

    async def _taken_over(self, ann: ANNIndex, known: set[int]) -> bool:
        """Use a new ann, if nothing changed since it was last told."""
        async with self._lock:
            if self._changed:
                return False
            self._ann, self._known = ann, known
            self._table.free(self._taken())
            return True

    def _built(self, kind: ANNKind, rows: list[int]) -> tuple[ANNIndex, set[int]]:
        there, vectors = self._present(rows)
        return kind.build(there, vectors), set(there.tolist())

    def _catch_up(self, ann: ANNIndex, known: set[int], changed: set[int]) -> None:
        stale = known & changed
        if stale:
            ann.remove(_array(stale))
            known -= stale
        there, vectors = self._present(list(changed))
        if len(there):
            ann.add(there, vectors)
            known.update(there.tolist())

    def _present(self, rows: list[int]) -> tuple[Rows, Floats]:
        """Those rows that hold something, and their vectors."""
        vectors = self._table.vectors(rows)
        there = ~np.isnan(vectors[:, 0])
        return _array(rows)[there], vectors[there]


def _array(rows: Collection[int]) -> Rows:
    return np.fromiter(rows, dtype=np.int64, count=len(rows))
