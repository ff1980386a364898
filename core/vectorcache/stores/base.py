"""The two interfaces to storage: named files on a fast local medium, and blobs in an object store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A stored file: its name, size in bytes, and when it was last used (seconds since the epoch)."""

    name: str
    size: int
    used_at: float


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A stored blob: its key, size in bytes, and the ETag of its present content."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that were read, and the ETag of the content that they are part of."""

    data: bytes
    etag: str


class _Closing(ABC):
    """A resource that is used by ``async with`` and closed once."""

    @abstractmethod
    async def close(self) -> None:
        """Release what is held; a second call does nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class FileStore(_Closing):
    """Named files on a fast local medium.

    A name is one or more parts of ``[A-Za-z0-9._-]`` joined by ``/``; a part is never ``.`` or ``..`` and
    does not begin with a dot. Anything else is ``InvalidInput``. Errors of the medium are ``Unavailable``.
    Calls on different names may run concurrently; writes to one name may too, and the last one wins whole.
    """

    @abstractmethod
    async def read(self, name: str) -> bytes | None:
        """Return the whole file and mark it as used now, or None where there is none."""

    @abstractmethod
    async def map(self, name: str) -> memoryview | None:
        """The whole file, read as it is used, or None where there is none; valid for as long as it is held.

        What was mapped stays as it is when the file is replaced or deleted, and takes its space till it is dropped.
        """

    @abstractmethod
    async def write(self, name: str, data: bytes) -> None:
        """Create or replace a file; a reader sees the old content or the new one, never a mixture."""

    @abstractmethod
    async def delete(self, name: str) -> bool:
        """Delete a file; say whether there was one."""

    @abstractmethod
    async def list(self) -> list[FileInfo]:
        """Every file, in no order. Leftovers of interrupted writes are removed, not listed."""


class BlobStore(_Closing):
    """Blobs in an object store, with conditional writes.

    Keys are as file names are. Errors: ``NotFound`` (get), ``Conflict`` (a condition did not hold),
    ``Unavailable`` (try again), ``VectorCacheError`` (permanent: credentials, a missing container).
    All calls may run concurrently.
    """

    @abstractmethod
    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Blob:
        """Read a blob, or the ``length`` bytes from ``offset`` (fewer at its end).

        Raises:
            NotFound: there is no such blob.
            InvalidInput: offset is negative, or at or beyond the end (0 never is), or length is not positive.
        """

    @abstractmethod
    async def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """Write a blob whole and return its new ETag.

        Raises:
            Conflict: ``if_match`` is not the ETag of the present content (or there is none), or
                ``if_absent`` and there is a blob already. At most one of the two conditions may be given.
        """

    @abstractmethod
    async def delete(self, key: str) -> bool:
        """Delete a blob; say whether there was one."""

    @abstractmethod
    async def head(self, key: str) -> BlobInfo | None:
        """Describe a blob without reading it, or None where there is none."""

    @abstractmethod
    async def list_folders(self, prefix: str = "") -> list[str]:
        """The names directly below ``prefix`` that have blobs below them, sorted.

        ``prefix`` is empty or ends in ``/``.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """Every blob whose key begins with ``prefix``, in the order of their keys."""
