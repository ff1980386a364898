"""Checksums of blobs. An immutable blob may have that of its content in its key, where every reader finds it."""

from __future__ import annotations

import re

import mmh3

from vectorcache.errors import CorruptData

_IN_KEY = re.compile(r"-([0-9a-f]{32})\.arrow$")


def checksum(data: bytes) -> str:
    """128-bit murmur3 in hexadecimal: tells damage, not malice."""
    return mmh3.hash_bytes(data, x64arch=True).hex()


def check(data: bytes, expected: str, key: str) -> None:
    """Raise ``CorruptData`` where a blob's bytes do not have the checksum that was recorded for them."""
    if checksum(data) != expected:
        raise CorruptData(f"blob {key!r} is not what the build wrote: its checksum differs")


def check_by_key(key: str, data: bytes) -> None:
    """The same, for a blob whose key ends in its checksum; a key that does not is ``CorruptData`` too."""
    found = _IN_KEY.search(key)
    if found is None:
        raise CorruptData(f"blob {key!r} has no checksum in its key")
    check(data, found[1], key)
