"""Scopes, which own entries, and selections of entries.

Scopes are isolated: every backend separates their entries by key or by partition, so that a look-up cannot see entries
of another scope. A scope is never part of the embedded text, and is never applied by filtering results afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from vectorcache.errors import InvalidInput

MAX_CHARACTERS = 200


def _check_part(part: str, value: object) -> None:
    if not isinstance(value, str) or len(value) > MAX_CHARACTERS or not value.isprintable():
        raise InvalidInput(part, value, f"at most {MAX_CHARACTERS} printable characters")


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """The owner of an entry. Only requests with the same scope can see it.

    Attributes:
        tenant: customer; not empty.
        user: user of the tenant; empty for entries that all users of the tenant share.
        name: application, deployment, language or other namespace; may be empty.

    Raises:
        InvalidInput: a part is not a string, too long or not printable, or the tenant is empty.
    """

    tenant: str = "default"
    user: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        for part, value in (("tenant", self.tenant), ("user", self.user), ("scope", self.name)):
            _check_part(part, value)
        if not self.tenant:
            raise InvalidInput("tenant", self.tenant, "a non-empty name")


EVERYBODY = Scope()
"""The default scope."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection of entries to delete, list or export. An entry must meet all given conditions.

    Attributes:
        tenant, user, name: parts of the scope; None for any. An empty ``user`` selects shared entries.
        pattern: case-sensitive glob (``*``, ``?``, ``[abc]``) that the key or the text of the entry must match.
        tags: tags of which the entry must have at least one.
        created_before: time before which the entry was created, in seconds since the epoch.

    Raises:
        InvalidInput: a condition has the wrong type, or a part of the scope is invalid.
    """

    tenant: str | None = None
    user: str | None = None
    name: str | None = None
    pattern: str | None = None
    tags: frozenset[str] = field(default_factory=frozenset)
    created_before: float | None = None

    def __post_init__(self) -> None:
        for part, value in (("tenant", self.tenant), ("user", self.user), ("scope", self.name)):
            if value is not None:
                _check_part(part, value)
        if not isinstance(self.pattern, str | None):
            raise InvalidInput("pattern", self.pattern, "a string")
        if not isinstance(self.tags, frozenset):
            raise InvalidInput("tags", self.tags, "a frozenset of strings")
        if not isinstance(self.created_before, int | float | None):
            raise InvalidInput("created_before", self.created_before, "seconds since the epoch")

    @classmethod
    def of(cls, scope: Scope) -> Selection:
        """Return the selection of all entries of a scope."""
        return cls(scope.tenant, scope.user, scope.name)

    def matches(
        self,
        scope: Scope,
        created_at: float,
        tags: frozenset[str] = frozenset(),
        key: str = "",
        text: str = "",
    ) -> bool:
        """Return whether an entry is selected. Backends may use an equivalent query instead."""
        return (
            self.tenant in (None, scope.tenant)
            and self.user in (None, scope.user)
            and self.name in (None, scope.name)
            and (self.created_before is None or created_at < self.created_before)
            and (not self.tags or not self.tags.isdisjoint(tags))
            and (self.pattern is None or any(fnmatchcase(name, self.pattern) for name in (key, text) if name))
        )


EVERYTHING = Selection()
"""The selection of all entries."""
