"""The checks of arguments of a store: names and keys, prefixes, ranges, conditions."""

from __future__ import annotations

import re

from vectorcache.errors import InvalidInput

MAX_NAME = 1024
"""Maximum length of a name in characters: the limit of Azure Blob Storage."""

MAX_PART = 255
"""Maximum length of one part of a name in characters: the limit of common file systems."""

_PART = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9._-]{{0,{MAX_PART - 1}}}")
_ALLOWED = (
    f"parts of 1 to {MAX_PART} characters A-Z a-z 0-9 . _ - that do not begin with a dot, "
    f"joined by '/', at most {MAX_NAME} characters"
)


def is_part(text: str) -> bool:
    """Return whether a text is one part of a name, which is the name of a folder or a file."""
    return _PART.fullmatch(text) is not None


def check_name(name: str, field: str = "name") -> None:
    """Raise ``InvalidInput`` for ``field`` if the name cannot be that of a file or the key of a blob."""
    if len(name) > MAX_NAME or not all(is_part(part) for part in name.split("/")):
        raise InvalidInput(field, name, _ALLOWED)


def check_key(key: str) -> None:
    """Raise ``InvalidInput`` if the key cannot be that of a blob."""
    check_name(key, "key")


def check_prefix(prefix: str) -> None:
    """Raise ``InvalidInput`` if the prefix is not empty, a key, or a key followed by '/'."""
    if prefix:
        _check_start(prefix, _ALLOWED + ", or the beginning of such a key")


def check_folder(prefix: str) -> None:
    """Raise ``InvalidInput`` if the prefix is neither empty nor a valid prefix that ends in '/'."""
    if prefix:
        allowed = "empty, or a prefix that ends in '/'"
        _check_start(prefix, allowed)
        if not prefix.endswith("/"):
            raise InvalidInput("prefix", prefix, allowed)


def _check_start(prefix: str, allowed: str) -> None:
    try:
        check_name(prefix.removesuffix("/"), "prefix")
    except InvalidInput as error:
        raise InvalidInput("prefix", prefix, allowed) from error


def check_range(offset: int, length: int | None) -> None:
    """Raise ``InvalidInput`` if no blob can have the range."""
    if offset < 0:
        raise InvalidInput("offset", offset, "0 or more")
    if length is not None and length < 1:
        raise InvalidInput("length", length, "1 or more, or None for the rest of the blob")


def check_offset(offset: int, size: int) -> None:
    """Raise ``InvalidInput`` if the offset is not inside the content, as in HTTP.

    An offset of 0 is always allowed, so that an empty blob can be read.
    """
    if offset and offset >= size:
        raise InvalidInput("offset", offset, f"less than the size of the blob, {size}")


def check_conditions(if_match: str | None, if_absent: bool) -> None:
    """Raise ``InvalidInput`` if both conditions of a write are given."""
    if if_absent and if_match is not None:
        raise InvalidInput("if_match", if_match, "None together with if_absent")
