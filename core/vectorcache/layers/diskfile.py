"""The format of the disk layer's files, and their names.

    offset  size  content
         0     4  magic ``VCDF``
         4     2  format version, little-endian as all numbers here
         6     2  length of the key in bytes (UTF-8)
         8     8  length of the payload in bytes
        16    16  MurmurHash3 x64 128 of the payload (Appleby 2011)
        32     -  the key, zeros up to a multiple of 64, then the payload, to the end of the file

The key detects a file that belongs to another key (a hash collision, or a file copied by hand). The length detects a
truncated file, and the checksum detects all other damage. MurmurHash3 is as fast as CRC-32 here (0.2 ms per MiB) and
misses fewer errors.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from typing import TypeVar

import mmh3

from vectorcache.errors import CorruptData

_HEADER = struct.Struct("<4sHHQ16s")
_MAGIC = b"VCDF"
_VERSION = 2
_NAME = re.compile(r"[0-9a-f]{32}")
_BLOCK = 4096
_LINE = 64

Content = TypeVar("Content", bytes, memoryview)


@lru_cache(maxsize=1 << 16)
def file_name(key: str) -> str:
    """Return the name of a key's file: a hash, because a key may be too long for a name, or a folder of other keys."""
    return mmh3.mmh3_x64_128_digest(key.encode()).hex()


def is_file_name(name: str) -> bool:
    """Return whether a name has the form that ``file_name`` returns."""
    return _NAME.fullmatch(name) is not None


def file_weight(size: int) -> int:
    """Return the bytes that a file of this size takes on a volume: whole blocks of 4 KiB."""
    return -(-size // _BLOCK) * _BLOCK


def pack(key: str, payload: bytes) -> bytes:
    """Return the content of a key's file."""
    key_bytes = key.encode()
    checksum = mmh3.mmh3_x64_128_digest(payload)
    header = _HEADER.pack(_MAGIC, _VERSION, len(key_bytes), len(payload), checksum)
    return b"".join((header, _padded(key_bytes), payload))


def unpack(key: str, content: Content, *, verify: bool = True) -> Content:
    """Return the payload of a key's file. ``verify`` compares its checksum.

    Raises:
        CorruptData: the content is damaged, truncated, or that of another key.
    """
    key_bytes = key.encode()
    padded = _padded(key_bytes)
    start = _HEADER.size + len(padded)
    if len(content) < start:
        raise CorruptData(f"file of {key!r} is truncated: it has {len(content)} bytes, less than a header")
    magic, version, key_length, length, checksum = _HEADER.unpack_from(content)
    if (magic, version) != (_MAGIC, _VERSION):
        raise CorruptData(f"file of {key!r} has an unknown format: magic {magic!r}, version {version}")
    if key_length != len(key_bytes) or content[_HEADER.size : start] != padded:
        raise CorruptData(f"file of {key!r} belongs to another key")
    payload = content[start:]
    if len(payload) != length:
        raise CorruptData(f"file of {key!r} has {len(payload)} bytes of payload, not {length}")
    if verify and mmh3.mmh3_x64_128_digest(payload) != checksum:
        raise CorruptData(f"file of {key!r} is damaged: its checksum differs")
    return payload


def _padded(key: bytes) -> bytes:
    """Pad the key with zeros, so that the payload begins on a cache line: mapped codes must be aligned."""
    return key.ljust(-(-(_HEADER.size + len(key)) // _LINE) * _LINE - _HEADER.size, b"\0")
