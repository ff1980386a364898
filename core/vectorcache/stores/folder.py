"""Blobs in a folder."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

from vectorcache.errors import Conflict, DeadlineExceeded, InvalidInput, NotFound
from vectorcache.stores.base import Blob, BlobInfo, BlobStore
from vectorcache.stores.filesystem import folders, stat_of, temporary_beside, walk, written
from vectorcache.stores.names import (
    check_conditions,
    check_folder,
    check_key,
    check_offset,
    check_prefix,
    check_range,
    is_part,
)
from vectorcache.stores.threads import DEFAULT_THREADS, FileThreads

LOCKS = 64
"""Keys share this many lock files, so that there is neither one file per key nor one queue for all."""

LOCK_POLL_SECONDS = 0.002
"""How often a lock is asked for again: a holder only checks and renames, which takes far less."""


class FolderBlobStore(BlobStore):
    """Blobs as files below one folder of a local file system, for any number of processes.

    Content is written to a temporary name, forced to the medium (this may be the only copy), then renamed, so
    that readers need no lock. Writers and deleters of a key hold its lock file while they look and rename:
    conditional writes are atomic between processes too. An ETag is made of modification time, size and
    inode; the lock's holder sets a time later than the replaced content's, so no ETag ever comes again.

    A file system's limit holds: no key is a folder of another one (``InvalidInput``).

    Args:
        folder: where the blobs are; made by the first write.
        threads: how many file calls run at once.
        lock_seconds: how long a writer waits for another one's lock before ``DeadlineExceeded``.
        clock_ns: the time for ETags, in nanoseconds since the epoch.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        threads: int = DEFAULT_THREADS,
        lock_seconds: float = 5.0,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder = Path(folder)
        self._locks = self._folder / ".locks"
        self._lock_seconds = lock_seconds
        self._clock_ns = clock_ns
        self._threads = FileThreads(threads)

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Blob:
        """Read a blob, or the ``length`` bytes from ``offset`` (fewer at its end)."""
        check_key(key)
        check_range(offset, length)
        return await self._threads.run(self._read, key, offset, length)

    async def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """Write a blob whole and return its new ETag."""
        check_key(key)
        check_conditions(if_match, if_absent)
        return await self._threads.run(self._write, key, data, if_match, if_absent)

    async def delete(self, key: str) -> bool:
        """Delete a blob; say whether there was one."""
        check_key(key)
        return await self._threads.run(self._delete, key)

    async def head(self, key: str) -> BlobInfo | None:
        """Describe a blob without reading it, or None where there is none."""
        check_key(key)
        status = await self._threads.run(_status, self._folder / key)
        return None if status is None else _info(key, status)

    async def list_folders(self, prefix: str = "") -> list[str]:
        """The names directly below ``prefix`` that have blobs below them, sorted."""
        check_folder(prefix)
        return await self._threads.run(_folders_below, self._folder / prefix)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """Every blob whose key begins with ``prefix``, in the order of their keys."""
        check_prefix(prefix)
        for info in await self._threads.run(_blobs_below, self._folder, prefix):
            yield info

    async def close(self) -> None:
        """Wait for the calls that run, and end the threads."""
        await self._threads.close()

    def _read(self, key: str, offset: int, length: int | None) -> Blob:
        try:
            with (self._folder / key).open("rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                check_offset(offset, status.st_size)
                file.seek(offset)
                data = file.readall() if length is None else file.read(min(length, status.st_size - offset))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise NotFound("blob", key) from error
        return Blob(data or b"", _etag(status))

    def _write(self, key: str, data: bytes, if_match: str | None, if_absent: bool) -> str:
        path = self._folder / key
        temporary = temporary_beside(path)
        try:
            with written(temporary, data, sync=True), self._locked(key):
                present = _status(path)
                _check(key, present, if_match, if_absent)
                return self._publish(temporary, path, present)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise InvalidInput("key", key, "a key that is no folder of another key, nor below one") from error

    def _publish(self, temporary: Path, path: Path, present: os.stat_result | None) -> str:
        now = self._clock_ns()
        later = now if present is None else max(now, present.st_mtime_ns + 1)
        os.utime(temporary, ns=(later, later))
        temporary.replace(path)
        return _etag(path.stat())

    def _delete(self, key: str) -> bool:
        path = self._folder / key
        if _status(path) is None:
            return False
        with self._locked(key):
            try:
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        self._locks.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._locks / str(crc32(key.encode()) % LOCKS), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._acquire(descriptor, key)
            yield
        finally:
            os.close(descriptor)  # which releases it; so does the end of the process

    def _acquire(self, descriptor: int, key: str) -> None:
        deadline = time.monotonic() + self._lock_seconds
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    message = f"blob {key!r} is locked by another writer for {self._lock_seconds:g} s"
                    raise DeadlineExceeded(message) from error
                time.sleep(LOCK_POLL_SECONDS)


def _check(key: str, present: os.stat_result | None, if_match: str | None, if_absent: bool) -> None:
    if if_absent and present is not None:
        raise Conflict(f"blob {key!r} exists already")
    if if_match is not None and (present is None or _etag(present) != if_match):
        raise Conflict(f"blob {key!r} is not the one expected")


def _blobs_below(root: Path, prefix: str) -> list[BlobInfo]:
    folder = prefix[: prefix.rfind("/") + 1]
    found = [
        _info(key, status)
        for key, entry in walk(root / folder, folder)
        if is_part(entry.name) and key.startswith(prefix) and (status := stat_of(entry))
    ]
    return sorted(found, key=lambda info: info.key)


def _folders_below(folder: Path) -> list[str]:
    # A folder whose last blob was deleted stays behind: only one with a blob counts.
    return sorted(
        name for name in folders(folder) if any(is_part(entry.name) for _, entry in walk(folder / name))
    )


def _status(path: Path) -> os.stat_result | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _info(key: str, status: os.stat_result) -> BlobInfo:
    return BlobInfo(key, status.st_size, _etag(status))


def _etag(status: os.stat_result) -> str:
    return f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"'
