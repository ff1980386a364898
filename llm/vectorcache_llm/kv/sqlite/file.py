"""The file of a store. It is created atomically, checked when it is opened, and set aside if it is unusable."""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
from itertools import count
from pathlib import Path

from vectorcache.errors import CorruptData

logger = logging.getLogger(__name__)

APPLICATION_ID = 0x56434B56
"""Application id in the header of the file, which identifies databases of this store."""

SCHEMA_VERSION = 1

ATTEMPTS = 5
"""Attempts to open the file while other processes create it or set it aside."""

JOURNAL_BYTES = 64 << 20
"""Size to which the write-ahead log is truncated after a checkpoint: 64 MiB."""

# The value is the last column, because SQLite stores a long one on overflow pages, which are not read for the columns
# before it. Triggers maintain the totals, so they are correct whichever process writes and however it ends.
_SCHEMA = f"""
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL, user TEXT NOT NULL, name TEXT NOT NULL, key BLOB NOT NULL,
    created_at REAL NOT NULL, expires_at REAL, size INTEGER NOT NULL,
    used_at REAL NOT NULL, uses INTEGER NOT NULL DEFAULT 0,
    about BLOB NOT NULL, value BLOB NOT NULL,
    UNIQUE (tenant, user, name, key)
);
CREATE INDEX by_end ON entries (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX by_recency ON entries (used_at);
CREATE INDEX by_uses ON entries (uses, used_at);
CREATE TABLE totals (entries INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO totals VALUES (0, 0);
CREATE TRIGGER came AFTER INSERT ON entries BEGIN
    UPDATE totals SET entries = entries + 1, bytes = bytes + NEW.size;
END;
CREATE TRIGGER went AFTER DELETE ON entries BEGIN
    UPDATE totals SET entries = entries - 1, bytes = bytes - OLD.size;
END;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""  # noqa: S608 - contains only constants


def connect(path: Path, *, busy_seconds: float, durable: bool, check: bool) -> sqlite3.Connection:
    """Open the file, creating it if it does not exist. A damaged or foreign file is set aside first.

    Args:
        path: the file; a missing folder is created.
        busy_seconds: time that a statement waits for other processes, in seconds.
        durable: whether a commit survives a power loss, and not only the end of the process.
        check: whether to check the whole file for damage, and not only its header.

    Raises:
        sqlite3.Error, OSError: the file cannot be opened at present.
    """
    for _ in range(ATTEMPTS):
        if not path.exists():
            _make(path)
        found = path.stat().st_ino
        try:
            return _open(path, busy_seconds, durable, check)
        except (sqlite3.DatabaseError, CorruptData) as error:
            if isinstance(error, sqlite3.DatabaseError) and not is_damage(error):
                raise
            _set_aside(path, found, error)
    raise sqlite3.OperationalError(f"{path} was replaced by other processes {ATTEMPTS} times")


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the error means that the file is damaged or not a database."""
    code = (
        getattr(error, "sqlite_errorcode", 0) & 0xFF
    )  # the lower byte of an extended code is the primary code
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _make(path: Path) -> None:
    """Create an empty database under a temporary name, and link it to ``path``, which only one process can do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # readable by the owner only
    os.close(handle)
    try:
        connection = sqlite3.connect(name)
        try:
            connection.executescript(_SCHEMA)
        finally:
            connection.close()
        os.link(name, path)
    except FileExistsError:
        pass  # another process was first
    finally:
        Path(name).unlink()


def _open(path: Path, busy_seconds: float, durable: bool, check: bool) -> sqlite3.Connection:
    existing = f"{path.absolute().as_uri()}?mode=rw"  # "rw" fails instead of creating an empty file
    connection = sqlite3.connect(existing, timeout=busy_seconds, isolation_level=None, uri=True)
    try:
        _check_header(connection)
        if check:
            _check_pages(connection)
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_header(connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise CorruptData("the database belongs to another application")
    if version != SCHEMA_VERSION:
        raise CorruptData(f"the database has format {version}; this version supports {SCHEMA_VERSION}")
    connection.execute("SELECT entries FROM totals").fetchone()


def _check_pages(connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise CorruptData(verdict)


def _set_aside(path: Path, found: int, reason: Exception) -> None:
    """Rename the file, unless another process has replaced it since it was opened."""
    aside = next(name for n in count(1) if not (name := path.with_name(f"{path.name}.aside-{n}")).exists())
    try:
        if path.stat().st_ino != found:
            return
        # Rename the logs first: another process may create a new file at any time, which must not find the old logs.
        for suffix in ("-wal", "-shm"):
            log = path.with_name(path.name + suffix)
            if log.exists():
                log.rename(aside.with_name(aside.name + suffix))
        path.rename(aside)
    except FileNotFoundError:
        return  # another process is renaming the file
    logger.error(
        "%s cannot be used (%s); it was renamed to %s and is replaced by an empty file", path, reason, aside
    )
