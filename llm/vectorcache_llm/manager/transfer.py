"""The export's format: JSON lines; the first says what the file is, the last that it is whole.

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
"""Records in memory at once."""


class Header(msgspec.Struct, forbid_unknown_fields=True):
    """What a file is. ``embedder`` is a fingerprint, empty where there was none."""

    format: str
    version: int
    created_at: float
    embedder: str = ""


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """One record."""

    cache: str
    record: Record


class Footer(msgspec.Struct, forbid_unknown_fields=True):
    """How many records there are, and the caches whose export failed."""

    records: int
    failed: list[str] = []


class Writer:
    """Writes a file that appears when it is whole: under another name first, in the same folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.parent / f".{path.name}.{os.getpid()}.partial"
        self._file: IO[bytes] | None = None
        self._lines: list[bytes] = []

    async def open(self, header: Header) -> None:
        """Begin.

        Raises:
            InvalidInput: the file cannot be written.
        """
        self._file = await self._on_disk(lambda: self._partial.open("wb"))
        await self.write(header)

    async def write(self, line: Header | Line | Footer) -> None:
        """Write one line; many are written together.

        Raises:
            InvalidInput: the file cannot be written.
        """
        self._lines.append(msgspec.json.encode(line) + b"\n")
        if len(self._lines) >= BATCH:
            await self._flush()

    async def finish(self, footer: Footer) -> None:
        """Write the end, and let the file appear.

        Raises:
            InvalidInput: the file cannot be written.
        """
        await self.write(footer)
        await self._flush()
        await self._on_disk(self._appear)

    def abandon(self) -> None:
        """Leave nothing behind, if it was not finished."""
        if self._file is not None:
            with suppress(OSError):  # what a full disk did not take
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
    """Lines of a file with their numbers, from 1, some at a time; empty ones are left out.

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
    """The header that a line is.

    Raises:
        CorruptData: it is none, or of a version that is not known.
    """
    try:
        found = msgspec.json.decode(line, type=Header)
    except msgspec.DecodeError as error:
        raise CorruptData(f"{path} is no export: {error}") from error
    if (found.format, found.version) != (FORMAT, VERSION):
        raise CorruptData(
            f"{path} is of format {found.format!r}, version {found.version}; known: {FORMAT!r}, {VERSION}"
        )
    return found


def line(path: Path, number: int, text: bytes) -> Line | Footer:
    """The record, or the end, that a line is.

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
    """Records by their caches, in order."""
    found: dict[str, list[Record]] = {}
    for one in lines:
        found.setdefault(one.cache, []).append(one.record)
    return found
