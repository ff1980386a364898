"""The file format of exports: JSON lines with a header and a footer, which marks the file as complete.

{"format": "vectorcache-llm", "version": 1, "created_at": 1700000000.0, "embedder": "wordllama-..."}
{"cache": "response", "record": {...}}
{"records": 1, "failed": []}
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from vectorcache.errors import CorruptData, InvalidInput
from vectorcache_llm.managed import Record

T = TypeVar("T")

FORMAT = "vectorcache-llm"
VERSION = 1
BATCH = 256
"""Maximum number of records in memory."""


class Header(msgspec.Struct, forbid_unknown_fields=True):
    """The first line. ``embedder`` is the embedder's fingerprint, or empty."""

    format: str
    version: int
    created_at: float
    embedder: str = ""


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line with one record."""

    cache: str
    record: Record


class Footer(msgspec.Struct, forbid_unknown_fields=True):
    """The last line: the number of records, and the caches whose export failed."""

    records: int
    failed: list[str] = []


class Writer:
    """Writes a file under a temporary name in the same folder, and renames it when it is complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.parent / f".{path.name}.{os.getpid()}.partial"
        self._file: IO[bytes] | None = None
        self._lines: list[bytes] = []

    async def open(self, header: Header) -> None:
        """Create the temporary file.

        Raises:
            InvalidInput: the file cannot be written.
        """
        self._file = await self._on_disk(lambda: self._partial.open("wb"))
        await self.write(header)

    async def write(self, line: Header | Line | Footer) -> None:
        """Write one line. Lines are buffered.

        Raises:
            InvalidInput: the file cannot be written.
        """
        self._lines.append(msgspec.json.encode(line) + b"\n")
        if len(self._lines) >= BATCH:
            await self._flush()

    async def finish(self, footer: Footer) -> None:
        """Write the footer and rename the file.

        Raises:
            InvalidInput: the file cannot be written.
        """
        await self.write(footer)
        await self._flush()
        await self._on_disk(self._appear)

    def abandon(self) -> None:
        """Delete the temporary file if it was not finished."""
        if self._file is not None:
            with suppress(OSError):  # the buffer could not be written
                self._file.close()
            self._partial.unlink(missing_ok=True)

    async def _flush(self) -> None:
        file = self._file
        assert file is not None
        lines, self._lines = self._lines, []
        await self._on_disk(lambda: file.writelines(lines))

    async def _on_disk(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            allowed = f"a file that can be written ({error.strerror})"
            raise InvalidInput("path", str(self._path), allowed) from error

    def _appear(self) -> None:
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self._path)


async def batches(path: Path) -> AsyncIterator[list[tuple[int, bytes]]]:
    """Yield batches of the non-empty lines of a file with their numbers, from 1.

    Raises:
        InvalidInput: the file cannot be read.
    """
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except OSError as error:
        raise InvalidInput("path", str(path), f"a file that can be read ({error.strerror})") from error
    with file:
        numbered = enumerate(file, 1)
        while batch := await asyncio.to_thread(lambda: list(islice(numbered, BATCH))):
            yield [(number, line) for number, line in batch if line.strip()]


def header(path: Path, line: bytes) -> Header:
    """Parse the header.

    Raises:
        CorruptData: the line is not a header, or the version is unknown.
    """
    try:
        found = msgspec.json.decode(line, type=Header)
    except msgspec.DecodeError as error:
        raise CorruptData(f"{path} is not an export: {error}") from error
    if (found.format, found.version) != (FORMAT, VERSION):
        raise CorruptData(
            f"{path} has format {found.format!r}, version {found.version}; supported: {FORMAT!r}, {VERSION}"
        )
    return found


def line(path: Path, number: int, text: bytes) -> Line | Footer:
    """Parse a line with a record or the footer.

    Raises:
        CorruptData: it is neither.
    """
    kind: Any = Footer if text.startswith(b'{"records":') else Line
    try:
        found: Line | Footer = msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise CorruptData(f"{path}, line {number}: {error}") from error
    return found


def by_cache(lines: Iterable[Line]) -> dict[str, list[Record]]:
    """Return the records by cache, in order."""
    found: dict[str, list[Record]] = {}
    for one in lines:
        found.setdefault(one.cache, []).append(one.record)
    return found
