"""The file of a store: made whole or not at all, checked when it is opened, set aside when it is of no use."""

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
"""In the header of the file: what tells ours from the databases of others."""

SCHEMA_VERSION = 1

ATTEMPTS = 5
"""Times to look again when another process makes or sets aside the file at the same moment."""

JOURNAL_BYTES = 64 << 20
"""To which the write-ahead log is cut back after it was larger: 64 MiB."""

# The value comes last: a long one lies on pages of its own, which are not read for the columns before it. The totals
# are kept by triggers, so that they hold whichever process writes, and however it ends.
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
"""  # noqa: S608 - of numbers of ours


def connect(path: Path, *, busy_seconds: float, durable: bool, check: bool) -> sqlite3.Connection:
    """Open the file, made anew where there is none; one that is not ours or is damaged is set aside before.

    Args:
        path: the file; its folder is made where it is missing.
        busy_seconds: how long a statement waits for other processes.
        durable: whether a commit survives the loss of power, and not only the end of the process.
        check: read the whole file for damage, not only its header.

    Raises:
        sqlite3.Error, OSError: it cannot be opened for now.
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
    raise sqlite3.OperationalError(f"{path} changes all the time")


def is_damage(error: sqlite3.Error) -> bool:
    """Whether it says that the file is no database or a torn one."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the lower byte of an extended code is its kind
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _make(path: Path) -> None:
    """Make an empty one beside, then link it into place: of two processes that do so, one is first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # for its owner's eyes only
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
    existing = f"{path.absolute().as_uri()}?mode=rw"  # never an empty file that nobody checked
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
        raise CorruptData("a database of another application")
    if version != SCHEMA_VERSION:
        raise CorruptData(f"of format {version}, and this release reads {SCHEMA_VERSION}")
    connection.execute("SELECT entries FROM totals").fetchone()


def _check_pages(connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise CorruptData(verdict)


def _set_aside(path: Path, found: int, reason: Exception) -> None:
    """Rename the file, unless another process did, and made a new one, since it was found to be of no use."""
    aside = next(name for n in count(1) if not (name := path.with_name(f"{path.name}.aside-{n}")).exists())
    try:
        if path.stat().st_ino != found:
            return
        # The logs first: a new file, which another process may make at any moment, must not meet the old ones.
        for suffix in ("-wal", "-shm"):
            log = path.with_name(path.name + suffix)
            if log.exists():
                log.rename(aside.with_name(aside.name + suffix))
        path.rename(aside)
    except FileNotFoundError:
        return  # another process is doing so
    logger.error(
        "%s cannot be used (%s); it is kept as %s, and an empty one takes its place", path, reason, aside
    )
