"""The errors of the LLM caching layer, in addition to those of ``vectorcache.errors``.

    VectorCacheError
    ├── InvalidInput
    │   └── InvalidSetting(key, value, allowed)   a setting is not allowed; names the key and its source
    ├── MissingExtra(package, extra)              an optional dependency is not installed
    ├── Unsupported                               the backend does not support the operation
    └── FingerprintMismatch                       vectors of different embedders are not comparable

Errors of backends (a server that is unreachable, slow or full) are wrapped as ``vectorcache.Unavailable`` or a subclass
where they occur. A cache does not pass them on to its caller: a look-up that fails is a miss.
"""

from __future__ import annotations

from vectorcache.errors import InvalidInput, VectorCacheError


class InvalidSetting(InvalidInput):
    """A setting is not allowed. The message names the key, its source, the value and the allowed values."""

    def __init__(self, key: str, value: object, allowed: str, source: str = "") -> None:
        super().__init__(f"{key} (from {source})" if source else key, value, allowed)
        self.key = key
        self.source = source


class MissingExtra(VectorCacheError, ImportError):
    """An optional dependency is not installed. The message contains the pip command."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'vectorcache[{extra}]'")
        self.package = package
        self.extra = extra


class Unsupported(VectorCacheError):
    """The backend does not support the operation. Retrying does not help."""


class FingerprintMismatch(VectorCacheError):
    """Vectors of different embedders would be compared, which is meaningless."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"vectors of embedder {found!r} are not comparable with those of {expected!r}")
        self.expected = expected
        self.found = found
