"""``DiskFileStore``: files on a disk."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from vectorcache.stores.base import FileInfo, FileStore
from vectorcache.stores.filesystem import TEMPORARY_SUFFIX, stat_of, temporary_beside, walk, written
from vectorcache.stores.names import check_name, is_part
from vectorcache.stores.threads import DEFAULT_THREADS, FileThreads


class DiskFileStore(FileStore):
    """Files below one folder, which no other store or process may use.

    A file is written under a temporary name and renamed. It is not forced to the medium (fsync): a power failure can
    only damage a cache entry, whose reader verifies a checksum and loads the entry again. Waiting for the medium at
    each write would cost more time.

    The time of last use is the file's modification time, which each read sets. So it survives a restart without an
    index, also on file systems mounted with ``noatime``.

    Args:
        folder: folder of the files; the first write creates it.
        threads: maximum number of concurrent file calls.
    """

    def __init__(self, folder: str | Path, *, threads: int = DEFAULT_THREADS) -> None:
        self._folder = Path(folder)
        self._threads = FileThreads(threads)
        # Shared by threads; adding to, removing from and testing a set are atomic.
        self._writing: set[str] = set()

    async def read(self, name: str) -> bytes | None:
        """See ``FileStore.read``."""
        return await self._threads.run(_read_and_touch, self._path(name))

    async def map(self, name: str) -> memoryview | None:
        """See ``FileStore.map``."""
        return await self._threads.run(_map_and_touch, self._path(name))

    async def write(self, name: str, data: bytes) -> None:
        """See ``FileStore.write``."""
        await self._threads.run(self._replace, self._path(name), data)

    async def delete(self, name: str) -> bool:
        """See ``FileStore.delete``."""
        return await self._threads.run(_delete, self._path(name))

    async def list(self) -> list[FileInfo]:
        """See ``FileStore.list``. Foreign files are ignored."""
        return await self._threads.run(_scan, self._folder, self._writing)

    async def close(self) -> None:
        """Wait for the running calls, and stop the threads."""
        await self._threads.close()

    def _path(self, name: str) -> Path:
        check_name(name)
        return self._folder / name

    def _replace(self, path: Path, data: bytes) -> None:
        temporary = temporary_beside(path)
        self._writing.add(temporary.name)
        try:
            with written(temporary, data):
                temporary.replace(path)
        finally:
            self._writing.discard(temporary.name)


def _read_and_touch(path: Path) -> bytes | None:
    try:
        with path.open("rb", buffering=0) as file:
            os.utime(file.fileno())
            return file.readall()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _map_and_touch(path: Path) -> memoryview | None:
    try:
        os.utime(path)
        # The mapping remains valid after its file is closed, which releases the descriptor.
        with pa.memory_map(str(path)) as file:
            return memoryview(file.read_buffer())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _delete(path: Path) -> bool:
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    return True


def _scan(folder: Path, writing: set[str]) -> list[FileInfo]:
    files = []
    for name, entry in walk(folder):
        if not is_part(entry.name):
            _remove_leftover(entry, writing)
        elif status := stat_of(entry):
            files.append(FileInfo(name, status.st_size, status.st_mtime))
    return files


def _remove_leftover(entry: os.DirEntry[str], writing: set[str]) -> None:
    if entry.name.endswith(TEMPORARY_SUFFIX) and entry.name not in writing:
        Path(entry.path).unlink(missing_ok=True)
