"""Key names on a server. Tenants, users and tags are encoded, so their characters have no special meaning there."""

from __future__ import annotations

import re

from vectorcache.errors import InvalidInput
from vectorcache_llm.scope import Scope
from vectorcache_llm.similarity.codec import digest, embedder_digest, identity_digest

_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PLAIN = re.compile(r"[A-Za-z0-9]*")
_EMPTY = "_"


def encode_name(name: str) -> str:
    """Encode a name in letters, digits and underscores. The encoding is injective, and readable for plain names.

    Other characters become ``_`` and two hexadecimal digits for each of their bytes in UTF-8.
    """
    if _PLAIN.fullmatch(name):
        return name or _EMPTY
    return "".join(
        one if _PLAIN.fullmatch(one) else "".join(f"_{byte:02x}" for byte in one.encode()) for one in name
    )


class Names:
    """The keys of the entries of one embedder: ``{prefix}:{tenant}:{embedder}{identity}``."""

    def __init__(self, prefix: str, fingerprint: str, dimension: int) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise InvalidInput("prefix", prefix, "1 to 64 letters, digits, dots, dashes or underscores")
        self.prefix = prefix
        self.embedder = embedder_digest(fingerprint, dimension)

    @property
    def index(self) -> str:
        """Name of the search index."""
        return f"{self.prefix}-index:{self.embedder}"

    @property
    def ends(self) -> str:
        """Key of the sorted set of expiry times."""
        return f"{self.prefix}-ends:{self.embedder}"

    def vector_set(self, partition: str) -> str:
        """Return the key of the vector set of a partition, given by its digest."""
        return f"{self.prefix}-vectors:{self.embedder}:{partition}"

    def entry(self, scope: Scope, id: str) -> str:  # noqa: A002 - the field's name
        """Return the key of an entry."""
        return self.entry_of(scope, identity_digest(scope, id))

    def entry_of(self, scope: Scope, identity: str) -> str:
        """Return the key of an entry, given by the digest of its identity."""
        return f"{self.prefix}:{encode_name(scope.tenant)}:{self.embedder}{identity}"

    def pattern(self, tenant: str | None) -> str:
        """Return a glob for the keys of a tenant, or of all tenants. It may match a few other keys."""
        part = "*" if tenant is None else encode_name(tenant)
        return f"{self.prefix}:{part}:{self.embedder}{'?' * len(digest())}"
