"""How entries are named on a server, so that no name of a tenant, a user or a tag can mean anything else there."""

from __future__ import annotations

import re

from vectorcache.errors import InvalidInput
from vectorcache_llm.scope import Scope
from vectorcache_llm.similarity.codec import digest, embedder_digest, identity_digest

_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PLAIN = re.compile(r"[A-Za-z0-9]*")
_EMPTY = "_"


def encode_name(name: str) -> str:
    """A name in letters, digits and underscores; different names differ, and stay readable where they can.

    Other characters become ``_`` and two hexadecimal digits for each of their bytes in UTF-8.
    """
    if _PLAIN.fullmatch(name):
        return name or _EMPTY
    return "".join(
        one if _PLAIN.fullmatch(one) else "".join(f"_{byte:02x}" for byte in one.encode()) for one in name
    )


class Names:
    """The keys of one embedder's entries: ``{prefix}:{tenant}:{embedder}{identity}``."""

    def __init__(self, prefix: str, fingerprint: str, dimension: int) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise InvalidInput("prefix", prefix, "1 to 64 letters, digits, dots, dashes or underscores")
        self.prefix = prefix
        self.embedder = embedder_digest(fingerprint, dimension)

    @property
    def index(self) -> str:
        """Of the search index."""
        return f"{self.prefix}-index:{self.embedder}"

    @property
    def ends(self) -> str:
        """Of the sorted set of ends of life."""
        return f"{self.prefix}-ends:{self.embedder}"

    def vector_set(self, partition: str) -> str:
        """Of a partition's vectors, by the partition's digest."""
        return f"{self.prefix}-vectors:{self.embedder}:{partition}"

    def entry(self, scope: Scope, id: str) -> str:  # noqa: A002 - the field's name
        """Of an entry."""
        return self.entry_of(scope, identity_digest(scope, id))

    def entry_of(self, scope: Scope, identity: str) -> str:
        """Of an entry, by the digest of its identity."""
        return f"{self.prefix}:{encode_name(scope.tenant)}:{self.embedder}{identity}"

    def pattern(self, tenant: str | None) -> str:
        """The glob that all keys of a tenant, or of all, match; and few others."""
        part = "*" if tenant is None else encode_name(tenant)
        return f"{self.prefix}:{part}:{self.embedder}{'?' * len(digest())}"
