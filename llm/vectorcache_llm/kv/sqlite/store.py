"""The asynchronous store over a SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from vectorcache.errors import DeadlineExceeded, InvalidInput, Unavailable
from vectorcache_llm.kv.base import Entry, KeyValueStore, StoreStats
from vectorcache_llm.kv.checks import check_entry, check_key, check_positive
from vectorcache_llm.kv.sqlite.file import is_damage
from vectorcache_llm.kv.sqlite.table import EVICTION_QUERIES, Counts, Position, Table
from vectorcache_llm.scope import EVERYTHING, Scope, Selection

P = ParamSpec("P")
T = TypeVar("T")

MAX_ENTRIES = 1_000_000
MAX_BYTES = 1 << 30
"""Default limit of the bytes of keys, values, tags and metadata: 1 GiB."""

MAX_ENTRY_BYTES = 900 << 20
"""Maximum size of an entry, regardless of ``max_bytes``: SQLite limits a row to 1 000 000 000 bytes with overhead."""

DEADLINE = 5.0
"""Default deadline in seconds, which allows for a slow disk."""


class SQLiteStore(KeyValueStore):
    """Store in one SQLite file, with a limit on entries and bytes.

    An acknowledged ``put`` or ``delete`` survives a kill of the process at any moment, and with ``durable`` also a
    power loss. A file that is damaged, or of another application or format, is renamed to ``<name>.aside-<n>``. An
    error is then logged, and an empty file replaces it. A call that detects damage raises ``Unavailable`` once.
    Processes of one machine may share a file; network file systems are not supported.

    All statements run in one thread of this object. A statement that exceeds the deadline continues there.

    Args:
        path: the file; if missing, it is created with its folder, readable by the owner only.
        max_entries: maximum number of entries.
        max_bytes: maximum total size of keys, values, tags and metadata, in bytes; the file is somewhat larger.
        policy: eviction policy: "lru", "lfu" or "ttl".
        deadline: time limit of each call, and of each batch of ``scan`` and ``delete_where``, in seconds.
        durable: whether each write waits for the disk.
        clock: returns seconds since the epoch.

    Raises:
        InvalidInput: a limit or the deadline is not positive, or the policy is unknown.
    """

    name = "sqlite"

    def __init__(
        self,
        path: str | PathLike[str],
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        *,
        policy: str = "lru",
        deadline: float = DEADLINE,
        durable: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_positive(max_entries=max_entries, max_bytes=max_bytes, deadline=deadline)
        if policy not in EVICTION_QUERIES:
            raise InvalidInput("policy", policy, ", ".join(EVICTION_QUERIES))
        self._path = Path(path)
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._policy = policy
        self._deadline = deadline
        self._durable = durable
        self._clock = clock
        self._counts = Counts()
        self._hits = self._misses = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._table: Table | None = None
        self._damaged = False

    async def open(self) -> None:
        """Open the file. If this fails, later calls try again."""
        await self._run(Table.totals)

    async def close(self) -> None:
        """Write pending use counts, and release the file."""
        await asyncio.to_thread(self._shut_down)

    async def get(self, scope: Scope, key: str) -> Entry | None:
        """See ``KeyValueStore.get``."""
        return (await self.get_many(scope, (key,))).get(key)

    async def get_many(self, scope: Scope, keys: Iterable[str]) -> dict[str, Entry]:
        """See ``KeyValueStore.get_many``."""
        wanted = list(dict.fromkeys(keys))
        for key in wanted:
            check_key(key)
        now = self._clock()
        entries = await self._run(Table.get_many, scope, wanted, now)
        self._hits += len(entries)
        self._misses += len(wanted) - len(entries)
        return {entry.key: entry for entry in entries}

    async def put(self, *entries: Entry) -> None:
        """See ``KeyValueStore.put``; stores all entries or none."""
        sized = [(entry, self._size(entry)) for entry in entries]
        await self._run(Table.put, sized, self._clock())

    async def put_new(self, entry: Entry) -> bool:
        """See ``KeyValueStore.put_new``."""
        return await self._run(Table.put_new, entry, self._size(entry), self._clock())

    async def delete(self, scope: Scope, *keys: str) -> int:
        """See ``KeyValueStore.delete``."""
        for key in keys:
            check_key(key)
        now = self._clock()
        return await self._run(Table.delete, scope, keys, now)

    async def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[Entry]:
        """See ``KeyValueStore.scan``; holds no transaction between batches."""
        last: Position | None = None
        while True:
            entries, last = await self._run(Table.page, selection, last, self._clock())
            for entry in entries:
                yield entry
            if last is None:
                return

    async def delete_where(self, selection: Selection) -> int:
        """See ``KeyValueStore.delete_where``; uses transactions of bounded size."""
        count = 0
        last: Position | None = None
        while True:
            deleted, last = await self._run(Table.delete_page, selection, last, self._clock())
            count += deleted
            if last is None:
                return count

    async def stats(self) -> StoreStats:
        """See ``KeyValueStore.stats``; the size includes expired entries that have not been removed."""
        entries, size = await self._run(Table.totals)
        return StoreStats(
            entries=entries,
            bytes=size,
            hits=self._hits,
            misses=self._misses,
            evicted=self._counts.evicted,
            expired=self._counts.expired,
        )

    def _size(self, entry: Entry) -> int:
        return check_entry(entry, min(self._max_bytes, MAX_ENTRY_BYTES))

    async def _run(self, call: Callable[Concatenate[Table, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        def work() -> T:
            return call(self._opened(), *args, **kwargs)

        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work)
        except TimeoutError as error:
            raise DeadlineExceeded(f"{self._path}: not done within {self._deadline:g} s") from error

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.Error as error:
            if is_damage(error):
                self._leave_damaged()
            raise Unavailable(f"{self._path}: {error}") from error
        except OSError as error:
            raise Unavailable(f"{self._path}: {error}") from error
        except (msgspec.MsgspecError, ValueError) as error:  # damage that SQLite does not detect
            raise Unavailable(f"{self._path}: an entry cannot be read: {error}") from error

    def _opened(self) -> Table:
        if self._table is None:
            self._table = Table(
                self._path,
                durable=self._durable,
                check=self._damaged,
                busy_seconds=self._deadline,
                max_entries=self._max_entries,
                max_bytes=self._max_bytes,
                policy=self._policy,
                counts=self._counts,
            )
            self._damaged = False
        return self._table

    def _leave_damaged(self) -> None:
        """Close the file, so that the next call opens it again and checks it fully."""
        table, self._table, self._damaged = self._table, None, True
        if table is not None:
            table.close()

    def _shut_down(self) -> None:
        try:
            self._thread.submit(self._close_table)
        except RuntimeError:
            return  # closed already
        self._thread.shutdown()

    def _close_table(self) -> None:
        table, self._table = self._table, None
        if table is not None:
            table.close()
