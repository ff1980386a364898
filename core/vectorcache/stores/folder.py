"""``FolderBlobStore``: blobs in a folder."""

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
"""Number of lock files, which the keys share: a compromise between one file per key and one lock for all keys."""

LOCK_POLL_SECONDS = 0.002
"""Seconds between two attempts to take a lock. Its holder only checks and renames, which takes much less time."""


class FolderBlobStore(BlobStore):
    """Blobs as files below one folder of a local file system, shared by any number of processes.

    Content is written under a temporary name, forced to the medium (it may be the only copy) and renamed, so that
    readers need no lock. Writers and deleters of a key hold its lock file while they check the condition and rename,
    so conditional writes are atomic between processes too. An ETag consists of modification time, size and inode. The
    holder of the lock sets a later time than that of the replaced content, so no ETag is used twice.

    A limit of file systems applies: a key cannot be a folder of another key (``InvalidInput``).

    Args:
        folder: folder of the blobs; the first write creates it.
        threads: maximum number of concurrent file calls.
        lock_seconds: seconds that a writer waits for a lock before it raises ``DeadlineExceeded``.
        clock_ns: returns the time for ETags, in nanoseconds since the epoch.
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
        """See ``BlobStore.get``."""
        check_key(key)
        check_range(offset, length)
        return await self._threads.run(self._read, key, offset, length)

    async def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """See ``BlobStore.put``."""
        check_key(key)
        check_conditions(if_match, if_absent)
        return await self._threads.run(self._write, key, data, if_match, if_absent)

    async def delete(self, key: str) -> bool:
        """See ``BlobStore.delete``."""
        check_key(key)
        return await self._threads.run(self._delete, key)

    async def head(self, key: str) -> BlobInfo | None:
        """See ``BlobStore.head``."""
        check_key(key)
        status = await self._threads.run(_status, self._folder / key)
        return None if status is None else _info(key, status)

    async def list_folders(self, prefix: str = "") -> list[str]:
        """See ``BlobStore.list_folders``."""
        check_folder(prefix)
        return await self._threads.run(_folders_below, self._folder / prefix)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """See ``BlobStore.list``."""
        check_prefix(prefix)
        for info in await self._threads.run(_blobs_below, self._folder, prefix):
            yield info

    async def close(self) -> None:
        """Wait for the running calls, and stop the threads."""
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
            raise InvalidInput(
                "key", key, "a key that is not a folder of another key, nor below one"
            ) from error

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
            os.close(descriptor)  # releases the lock, as does the end of the process

    def _acquire(self, descriptor: int, key: str) -> None:
        deadline = time.monotonic() + self._lock_seconds
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    message = f"blob {key!r} has been locked by another writer for {self._lock_seconds:g} s"
                    raise DeadlineExceeded(message) from error
                time.sleep(LOCK_POLL_SECONDS)


def _check(key: str, present: os.stat_result | None, if_match: str | None, if_absent: bool) -> None:
    if if_absent and present is not None:
        raise Conflict(f"blob {key!r} already exists")
    if if_match is not None and (present is None or _etag(present) != if_match):
        raise Conflict(f"blob {key!r} does not have the expected ETag")


def _blobs_below(root: Path, prefix: str) -> list[BlobInfo]:
    folder = prefix[: prefix.rfind("/") + 1]
    found = [
        _info(key, status)
        for key, entry in walk(root / folder, folder)
        if is_part(entry.name) and key.startswith(prefix) and (status := stat_of(entry))
    ]
    return sorted(found, key=lambda info: info.key)


def _folders_below(folder: Path) -> list[str]:
    # A folder remains after its last blob is deleted, so only folders with a blob count.
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
