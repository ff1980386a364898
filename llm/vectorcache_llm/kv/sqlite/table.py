"""The SQL statements of a store. All calls block, and run in the thread that owns the connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from vectorcache_llm.kv.base import Entry
from vectorcache_llm.kv.sqlite.file import connect
from vectorcache_llm.scope import Scope, Selection

EVICTION_QUERIES = {
    "lru": "SELECT id FROM entries ORDER BY used_at LIMIT 1",
    "lfu": "SELECT id FROM entries ORDER BY uses, used_at LIMIT 1",
    # Two queries, because no index sorts entries without expiry last.
    "ttl": "SELECT coalesce((SELECT id FROM entries WHERE expires_at IS NOT NULL ORDER BY expires_at, id LIMIT 1),"
    " (SELECT min(id) FROM entries))",
}
"""Query for the entry to evict, by policy. Each uses an index, so its cost does not depend on the number of entries."""

KEYS_BATCH = 500
"""Maximum number of keys per statement."""

BATCH = 500
"""Entries that one step of a scan or deletion examines, so that other calls can run between the steps."""

SCAN_BYTES = 8 << 20
"""Bytes of values after which a step of a scan ends."""

PURGE_BATCH = 100
"""Maximum number of expired entries that a ``put`` removes."""

MARKS = 512
"""Uses that are buffered in memory before they are written. They are lost if the process is killed."""

_HEAD = "id, tenant, user, name, key, created_at, expires_at, about"
_COLUMNS = f"{_HEAD}, value"
_OF_KEY = "tenant = ? AND user = ? AND name = ? AND key = ?"

_ABOUT = msgspec.msgpack.Decoder(tuple[frozenset[str], dict[str, str]])

Position: TypeAlias = tuple[str, str, str, bytes]
"""Scope and key of an entry. A scan proceeds in this order, so an entry that is put again during it is seen once."""


class Page(NamedTuple):
    """A step of a scan."""

    entries: list[Entry]
    last: Position | None
    """Position after which the next step continues; None at the end."""


class _Row(NamedTuple):
    """The columns of ``_HEAD``."""

    id: int
    tenant: str
    user: str
    name: str
    key: bytes
    created_at: float
    expires_at: float | None
    about: bytes

    @property
    def position(self) -> Position:
        return self.tenant, self.user, self.name, self.key

    def is_live(self, now: float) -> bool:
        return self.expires_at is None or self.expires_at > now

    def is_selected(self, selection: Selection) -> bool:
        tags, _ = _ABOUT.decode(self.about)
        scope = Scope(self.tenant, self.user, self.name)
        return selection.matches(scope, self.created_at, tags, self.key.decode())


@dataclass(slots=True)
class Counts:
    """Numbers of entries that were evicted or have expired."""

    evicted: int = 0
    expired: int = 0


class Table:
    """The entries of one file, through one connection.

    Args:
        path, durable, check: see ``connect``.
        busy_seconds: time that a statement waits for other processes, in seconds.
        max_entries, max_bytes: limits of the whole file.
        policy: a name in ``EVICTION_QUERIES``.
        counts: counters to update.
    """

    def __init__(
        self,
        path: Path,
        *,
        durable: bool,
        check: bool,
        busy_seconds: float,
        max_entries: int,
        max_bytes: int,
        policy: str,
        counts: Counts,
    ) -> None:
        self._connection = connect(path, busy_seconds=busy_seconds, durable=durable, check=check)
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._victim = EVICTION_QUERIES[policy]
        self._counts = counts
        self._marks: dict[int, tuple[int, float]] = {}

    def close(self) -> None:
        """Try to write the pending marks, and release the file."""
        with suppress(sqlite3.Error):
            self._write_marks()
        self._connection.close()

    def get_many(self, scope: Scope, keys: Sequence[str], now: float) -> list[Entry]:
        """Return the unexpired entries among the keys, and mark them as used."""
        found = []
        for start in range(0, len(keys), KEYS_BATCH):
            batch = [key.encode() for key in keys[start : start + KEYS_BATCH]]
            marks = ", ".join("?" * len(batch))
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM entries WHERE tenant = ? AND user = ? AND name = ?"  # noqa: S608
                f" AND key IN ({marks}) AND (expires_at IS NULL OR expires_at > ?)",
                (scope.tenant, scope.user, scope.name, *batch, now),
            ).fetchall()
            for row in rows:
                self._mark(row[0], now)
                found.append(_entry(row))
        if len(self._marks) >= MARKS:
            self._write_marks()
        return found

    def put(self, entries: Iterable[tuple[Entry, int]], now: float) -> None:
        """Store entries with their sizes, all or none. An expired entry only deletes the one it replaces."""
        with self._transaction():
            self._flush_marks()
            self._purge(now)
            for entry, size in entries:
                self._replace(entry, size, now)

    def put_new(self, entry: Entry, size: int, now: float) -> bool:
        """Store an entry unless an unexpired one exists, and return whether it was stored."""
        with self._transaction():
            self._flush_marks()
            ends = self._connection.execute(
                f"SELECT expires_at FROM entries WHERE {_OF_KEY}",  # noqa: S608
                _key_values(entry.scope, entry.key),
            )
            if _count_live(ends, now):
                return False
            self._replace(entry, size, now)
            return True

    def delete(self, scope: Scope, keys: Iterable[str], now: float) -> int:
        """Delete keys, and return how many unexpired entries existed."""
        with self._transaction():
            return sum(_count_live(self._delete_key(scope, key), now) for key in keys)

    def delete_page(
        self, selection: Selection, after: Position | None, now: float
    ) -> tuple[int, Position | None]:
        """Delete selected entries after a position. Return how many were unexpired, and where to continue."""
        with self._transaction():
            rows, last = self._look(selection, after)
            self._connection.executemany("DELETE FROM entries WHERE id = ?", [(row.id,) for row in rows])
        return sum(row.is_live(now) for row in rows), last

    def page(self, selection: Selection, after: Position | None, now: float) -> Page:
        """Return selected unexpired entries after a position, or from the beginning."""
        entries: list[Entry] = []
        room = SCAN_BYTES
        with self._transaction("DEFERRED"):  # a consistent view of rows and values
            rows, last = self._look(selection, after)
            for row in rows:
                if not row.is_live(now):
                    continue
                entries.append(self._whole(row))
                room -= len(entries[-1].value)
                if room <= 0:
                    return Page(entries, row.position)
        return Page(entries, last)

    def totals(self) -> tuple[int, int]:
        """Return the number of entries and their bytes, including expired ones that have not been removed."""
        entries, size = self._connection.execute("SELECT entries, bytes FROM totals").fetchone()
        return entries, size

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite rolls back some failed transactions itself
                self._connection.execute("ROLLBACK")
            raise

    def _replace(self, entry: Entry, size: int, now: float) -> None:
        self._delete_key(entry.scope, entry.key)
        if entry.expires_at is None or entry.expires_at > now:
            self._make_room(size, now)
            self._insert(entry, size, now)

    def _insert(self, entry: Entry, size: int, now: float) -> None:
        self._connection.execute(
            "INSERT INTO entries (tenant, user, name, key, created_at, expires_at, size, used_at, about, value)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *_key_values(entry.scope, entry.key),
                float(entry.created_at),  # SQLite integers are limited to 64 bits
                None if entry.expires_at is None else float(entry.expires_at),
                size,
                now,
                msgspec.msgpack.encode((sorted(entry.tags), dict(entry.metadata))),
                entry.value,
            ),
        )

    def _delete_key(self, scope: Scope, key: str) -> list[Any]:
        return self._connection.execute(
            f"DELETE FROM entries WHERE {_OF_KEY} RETURNING expires_at",  # noqa: S608
            _key_values(scope, key),
        ).fetchall()

    def _make_room(self, size: int, now: float) -> None:
        while self._is_full(size):
            if not self._purge(now):
                self._connection.execute(f"DELETE FROM entries WHERE id = ({self._victim})")  # noqa: S608
                self._counts.evicted += 1

    def _is_full(self, size: int) -> bool:
        entries, taken = self.totals()
        return entries >= self._max_entries or taken + size > self._max_bytes

    def _purge(self, now: float) -> bool:
        expired = self._connection.execute(
            "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE expires_at <= ? LIMIT ?)",
            (now, PURGE_BATCH),
        ).rowcount
        self._counts.expired += expired
        return expired > 0

    def _mark(self, row: int, now: float) -> None:
        uses, _ = self._marks.get(row, (0, now))
        self._marks[row] = (uses + 1, now)

    def _write_marks(self) -> None:
        try:
            with self._transaction():
                self._flush_marks()
        except sqlite3.OperationalError:
            self._marks.clear()  # another process holds the file, and marks are not worth a second wait

    def _flush_marks(self) -> None:
        self._connection.executemany(
            "UPDATE entries SET uses = uses + ?, used_at = max(used_at, ?) WHERE id = ?",
            [(uses, at, row) for row, (uses, at) in self._marks.items()],
        )
        self._marks.clear()

    def _look(self, selection: Selection, after: Position | None) -> tuple[list[_Row], Position | None]:
        """Return the selected rows among the next ``BATCH``, without values, and where to continue."""
        prefix = _prefix(selection)
        rows = self._connection.execute(
            f"SELECT {_HEAD} FROM entries WHERE (tenant, user, name, key) > (?, ?, ?, ?)"  # noqa: S608
            " ORDER BY tenant, user, name, key LIMIT ?",
            (*(after or _before(prefix)), BATCH),
        ).fetchall()
        inside = [_Row(*row) for row in rows if row[1 : 1 + len(prefix)] == prefix]
        last = inside[-1].position if len(inside) == BATCH else None
        return [row for row in inside if row.is_selected(selection)], last

    def _whole(self, row: _Row) -> Entry:
        (value,) = self._connection.execute("SELECT value FROM entries WHERE id = ?", (row.id,)).fetchone()
        return _entry((*row, value))


def _prefix(selection: Selection) -> tuple[str, ...]:
    """Return the leading parts of the scope that are given. Rows with this prefix are contiguous."""
    prefix: list[str] = []
    for part in (selection.tenant, selection.user, selection.name):
        if part is None:
            break
        prefix.append(part)
    return tuple(prefix)


def _before(prefix: tuple[str, ...]) -> Position:
    """Return a position before the first row with the prefix, which works since keys are not empty."""
    tenant, user, name = (*prefix, "", "", "")[:3]
    return tenant, user, name, b""


def _key_values(scope: Scope, key: str) -> tuple[str, str, str, bytes]:
    return scope.tenant, scope.user, scope.name, key.encode()


def _entry(row: tuple[Any, ...]) -> Entry:
    _, tenant, user, name, key, created_at, expires_at, about, value = row
    tags, metadata = _ABOUT.decode(about)
    scope = Scope(tenant, user, name)
    return Entry(scope, key.decode(), value, created_at, expires_at, tags, metadata)


def _count_live(rows: Iterable[tuple[float | None]], now: float) -> int:
    return sum(expires_at is None or expires_at > now for (expires_at,) in rows)
