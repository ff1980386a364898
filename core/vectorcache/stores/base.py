"""The two interfaces to storage: named files on a fast local medium, and blobs in an object store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A stored file: its name, size in bytes, and time of last use (seconds since the epoch)."""

    name: str
    size: int
    used_at: float


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A stored blob: its key, size in bytes, and the ETag of its current content."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that were read, and the ETag of their content."""

    data: bytes
    etag: str


class _Closing(ABC):
    """A resource that is used as an async context manager."""

    @abstractmethod
    async def close(self) -> None:
        """Release all resources. A second call does nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class FileStore(_Closing):
    """Named files on a fast local medium.

    A name consists of parts of ``[A-Za-z0-9._-]`` joined by ``/``. A part does not begin with a dot. Any other name
    raises ``InvalidInput``, and errors of the medium raise ``Unavailable``. All calls may run concurrently. If several
    write the same name, the file has the whole content of the last one.
    """

    @abstractmethod
    async def read(self, name: str) -> bytes | None:
        """Return the content of a file and mark it as used now, or return None if there is none."""

    @abstractmethod
    async def map(self, name: str) -> memoryview | None:
        """Map a file into memory and mark it as used now. Return a view of it, or None if there is none.

        The view keeps the content if the file is replaced or deleted. The disk space is released with the last view.
        """

    @abstractmethod
    async def write(self, name: str, data: bytes) -> None:
        """Create or replace a file atomically: a reader sees the old content or the new one, never a mixture."""

    @abstractmethod
    async def delete(self, name: str) -> bool:
        """Delete a file. Return whether there was one."""

    @abstractmethod
    async def list(self) -> list[FileInfo]:
        """Return all files, in any order. Remains of interrupted writes are deleted and not listed."""


class BlobStore(_Closing):
    """Blobs in an object store, with conditional writes.

    Keys have the form of file names. Calls raise ``NotFound`` (get), ``Conflict`` (a condition did not hold),
    ``Unavailable`` (a retry may succeed), or ``VectorCacheError`` (permanent: credentials, a missing container).
    All calls may run concurrently.
    """

    @abstractmethod
    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Blob:
        """Read a blob, or ``length`` bytes of it from ``offset`` (fewer at its end).

        Raises:
            NotFound: the blob does not exist.
            InvalidInput: ``offset`` is negative, or not 0 and not before the end, or ``length`` is not positive.
        """

    @abstractmethod
    async def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """Write a blob atomically and return its new ETag. At most one of the two conditions may be given.

        Raises:
            Conflict: ``if_match`` is not the ETag of the current content, or there is no content; or ``if_absent`` is
                set and the blob exists.
        """

    @abstractmethod
    async def delete(self, key: str) -> bool:
        """Delete a blob. Return whether there was one."""

    @abstractmethod
    async def head(self, key: str) -> BlobInfo | None:
        """Return the description of a blob without reading it, or None if there is none."""

    @abstractmethod
    async def list_folders(self, prefix: str = "") -> list[str]:
        """Return the sorted names directly below ``prefix`` that have blobs below them.

        ``prefix`` is empty or ends in ``/``.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """Yield all blobs whose key begins with ``prefix``, in the order of their keys."""
