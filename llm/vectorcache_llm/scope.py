"""Whose an entry is, and which entries an operation is about.

A scope is a hard gate: every backend keeps the entries of one scope where a look-up in another cannot see them, by
key or by partition. It is never part of what is embedded, and never a filter that is applied to answers afterwards.
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
    """Who may see an entry: exactly those who ask with the same scope.

    Attributes:
        tenant: the customer, never empty.
        user: a person of the tenant; empty for what all of its users share.
        name: an application, a deployment, a language: whatever else must not mix; may be empty.

    Raises:
        InvalidInput: a part is no string, too long, not printable, or the tenant is empty.
    """

    tenant: str = "default"
    user: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        for part, value in (("tenant", self.tenant), ("user", self.user), ("scope", self.name)):
            _check_part(part, value)
        if not self.tenant:
            raise InvalidInput("tenant", self.tenant, "a name that is not empty")


EVERYBODY = Scope()
"""The scope of those who name none."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries to delete, list or export: those that meet every condition that is given.

    Attributes:
        tenant, user, name: parts of the scope; None for any. An empty ``user`` selects what users share.
        pattern: a glob (``*``, ``?``, ``[abc]``; case counts) that the entry's key or text must match.
        tags: the entry has at least one of these.
        created_before: seconds since the epoch; the entry is older.

    Raises:
        InvalidInput: a condition that no entry could be compared with.
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
        """All entries of one scope."""
        return cls(scope.tenant, scope.user, scope.name)

    def matches(
        self,
        scope: Scope,
        created_at: float,
        tags: frozenset[str] = frozenset(),
        key: str = "",
        text: str = "",
    ) -> bool:
        """Whether an entry is selected; backends may answer by a query of their own that means the same."""
        return (
            self.tenant in (None, scope.tenant)
            and self.user in (None, scope.user)
            and self.name in (None, scope.name)
            and (self.created_before is None or created_at < self.created_before)
            and (not self.tags or not self.tags.isdisjoint(tags))
            and (self.pattern is None or any(fnmatchcase(name, self.pattern) for name in (key, text) if name))
        )


EVERYTHING = Selection()
"""Every entry."""
