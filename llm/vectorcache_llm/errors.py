"""Every error that the LLM caching layer raises on purpose, besides those of ``vectorcache.errors``.

    VectorCacheError
    ├── InvalidInput
    │   └── InvalidSetting(key, value, allowed)   a configuration that cannot be used; names the key and its source
    ├── MissingExtra(package, extra)              an optional dependency is not installed
    ├── Unsupported                               what this backend cannot do, such as writing to a read-only index
    └── FingerprintMismatch                       vectors of another embedder, which must never be compared

Backends' errors (a server that is away, late or full) are ``vectorcache.Unavailable`` and its kinds, wrapped where
they enter. The caches never let these reach a caller: a cache that fails is a miss.
"""

from __future__ import annotations

from vectorcache.errors import InvalidInput, VectorCacheError


class InvalidSetting(InvalidInput):
    """A setting that is not allowed: says which key, from where, which value and what is allowed."""

    def __init__(self, key: str, value: object, allowed: str, source: str = "") -> None:
        super().__init__(f"{key} (from {source})" if source else key, value, allowed)
        self.key = key
        self.source = source


class MissingExtra(VectorCacheError, ImportError):
    """An optional dependency is not installed; the message says how to install it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; install it by: pip install 'vectorcache[{extra}]'")
        self.package = package
        self.extra = extra


class Unsupported(VectorCacheError):
    """The backend cannot do this, whatever is tried."""


class FingerprintMismatch(VectorCacheError):
    """Vectors of two embedders met; their similarities would mean nothing."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"vectors of embedder {found!r} do not compare with those of {expected!r}")
        self.expected = expected
        self.found = found
