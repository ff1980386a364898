"""What the two stores on a file system share: files made real by a rename, and walking a tree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from vectorcache.stores.names import is_part

TEMPORARY_SUFFIX = ".tmp"
"""Temporary names begin with a dot too, which no name of ours does."""


def temporary_beside(path: Path) -> Path:
    """A new temporary name in the folder of ``path``, thus on its file system, as a rename needs."""
    return path.parent / f".{uuid4().hex}{TEMPORARY_SUFFIX}"


@contextmanager
def written(temporary: Path, data: bytes, *, sync: bool = False) -> Iterator[None]:
    """Write a temporary file, through to the medium if ``sync``; it is gone after the block."""
    try:
        descriptor = _create(temporary)
        with open(descriptor, "wb", buffering=0) as file:
            _write_all(descriptor, data)
            if sync:
                os.fsync(file.fileno())
        yield
    finally:
        temporary.unlink(missing_ok=True)


def _create(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o644)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:  # one call writes less than was asked for beyond 2 GiB, and on a disk that fills up
        rest = rest[os.write(descriptor, rest) :]


def walk(folder: Path, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file below a folder, with its name; hidden files too, hidden and foreign folders not.

    What vanishes meanwhile is passed over, and a missing folder is an empty one.
    """
    for entry in _entries(folder):
        if not entry.is_dir(follow_symlinks=False):
            yield prefix + entry.name, entry
        elif is_part(entry.name):
            yield from walk(folder / entry.name, f"{prefix}{entry.name}/")


def folders(folder: Path) -> list[str]:
    """The names of the folders directly in a folder, without hidden and foreign ones."""
    return [
        entry.name
        for entry in _entries(folder)
        if entry.is_dir(follow_symlinks=False) and is_part(entry.name)
    ]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def stat_of(entry: os.DirEntry[str]) -> os.stat_result | None:
    """What is known of a file, or None if it vanished meanwhile."""
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
