"""Checksums of blobs. The key of an immutable blob may contain the checksum of its content."""

from __future__ import annotations

import re

import mmh3

from vectorcache.errors import CorruptData

_IN_KEY = re.compile(r"-([0-9a-f]{32})\.arrow$")


def checksum(data: bytes) -> str:
    """Return the 128-bit murmur3 in hexadecimal. It detects damage, but not deliberate changes."""
    return mmh3.hash_bytes(data, x64arch=True).hex()


def check(data: bytes, expected: str, key: str) -> None:
    """Raise ``CorruptData`` if the bytes of a blob do not have the expected checksum."""
    if checksum(data) != expected:
        raise CorruptData(f"blob {key!r} is damaged: its checksum differs")


def check_by_key(key: str, data: bytes) -> None:
    """Raise ``CorruptData`` if the bytes of a blob do not have the checksum in its key, or if the key has none."""
    found = _IN_KEY.search(key)
    if found is None:
        raise CorruptData(f"blob {key!r} has no checksum in its key")
    check(data, found[1], key)
