"""Code shared by the stores on a file system: files that are published by a rename, and walking a tree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from vectorcache.stores.names import is_part

TEMPORARY_SUFFIX = ".tmp"
"""Suffix of temporary names. These also begin with a dot, which names of files and blobs never do."""


def temporary_beside(path: Path) -> Path:
    """Return a new temporary name in the folder of ``path``. A rename needs both on the same file system."""
    return path.parent / f".{uuid4().hex}{TEMPORARY_SUFFIX}"


@contextmanager
def written(temporary: Path, data: bytes, *, sync: bool = False) -> Iterator[None]:
    """Write a temporary file, which is deleted after the block if it still exists. ``sync`` forces it to the medium."""
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
    while rest:  # a call may write only a part: at most 2 GiB, and less on a full disk
        rest = rest[os.write(descriptor, rest) :]


def walk(folder: Path, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield every file below a folder, with its name. Includes hidden files, but skips hidden and foreign folders.

    Folders that are deleted in the meantime are skipped, and a missing folder counts as empty.
    """
    for entry in _entries(folder):
        if not entry.is_dir(follow_symlinks=False):
            yield prefix + entry.name, entry
        elif is_part(entry.name):
            yield from walk(folder / entry.name, f"{prefix}{entry.name}/")


def folders(folder: Path) -> list[str]:
    """Return the names of the folders directly in a folder, without hidden and foreign ones."""
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
    """Return the status of a file, or None if it was deleted in the meantime."""
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
