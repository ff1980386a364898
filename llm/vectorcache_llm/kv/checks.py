"""Validation and size of keys and entries, shared by all stores."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping

from vectorcache.errors import InvalidInput
from vectorcache_llm.kv.base import MAX_KEY_BYTES, Entry


def check_key(key: object) -> None:
    """Raise ``InvalidInput`` unless ``key`` is a valid key."""
    if not isinstance(key, str) or not 0 < _utf8_length("key", key) <= MAX_KEY_BYTES:
        raise InvalidInput("key", key, f"a string of 1 to {MAX_KEY_BYTES} bytes in UTF-8")


def check_entry(entry: Entry, largest: int) -> int:
    """Return the size of an entry in bytes: key, value, tags and metadata. Raise ``InvalidInput`` if it is invalid.

    Args:
        entry: entry to validate.
        largest: maximum size of an entry, in bytes.
    """
    check_key(entry.key)
    if not isinstance(entry.value, bytes):
        raise InvalidInput("value", entry.value, "bytes")
    _check_time("created_at", entry.created_at)
    if entry.expires_at is not None:
        _check_time("expires_at", entry.expires_at)
    size = len(entry.value) + sum(_texts(entry))
    if size > largest:
        raise InvalidInput("value", f"an entry of {size} bytes", f"at most {largest} bytes")
    return size


def check_positive(**numbers: float) -> None:
    """Raise ``InvalidInput`` for the first argument that is not a finite number greater than zero."""
    for field, number in numbers.items():
        if not isinstance(number, int | float) or not 0 < number < math.inf:
            raise InvalidInput(field, number, "a finite number greater than 0")


def _texts(entry: Entry) -> list[int]:
    if not isinstance(entry.metadata, Mapping):
        raise InvalidInput("metadata", entry.metadata, "a mapping from strings to strings")
    if not isinstance(entry.tags, frozenset):
        raise InvalidInput("tags", entry.tags, "a frozenset of strings")
    lengths = [_utf8_length("tags", tag) for tag in entry.tags]
    for key, value in entry.metadata.items():
        lengths += (_utf8_length("metadata", key), _utf8_length("metadata", value))
    return [_utf8_length("key", entry.key), *lengths]


def _utf8_length(field: str, text: str) -> int:
    if not isinstance(text, str):
        raise InvalidInput(field, text, "strings")
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput(field, text, "Unicode without lone surrogates") from None


def _check_time(field: str, seconds: float) -> None:
    if not isinstance(seconds, int | float) or not abs(seconds) <= sys.float_info.max:
        raise InvalidInput(field, seconds, "finite seconds since the epoch")
