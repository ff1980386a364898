"""The output of ``decide``: the next writes, or the status, Events and requeue delay if none is left. Data only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum

from vectorcache.errors import VectorCacheError
from vectorcache_operator import kinds
from vectorcache_operator.conditions import Issue
from vectorcache_operator.events import Notice
from vectorcache_operator.kinds import Kind, Object, kind_of, name_of


class Cause(StrEnum):
    """Why an object is applied."""

    CREATED = "created"
    """It does not exist."""

    CHANGED = "changed"
    """The operator wants another object than the one it last applied."""

    REPAIRED = "repaired"
    """It differs from the object that the operator last applied."""


class _Write(ABC):
    """A write to the API. Its text names the object."""

    __slots__ = ()

    @property
    @abstractmethod
    def target(self) -> tuple[Kind, str]:
        """Kind and name of the object."""

    def __str__(self) -> str:
        kind, name = self.target
        return f"{kind} {name}"


@dataclass(frozen=True, slots=True)
class Apply(_Write):
    """Apply a whole object. ``difference`` is the path of the first field to repair."""

    wanted: Object
    cause: Cause
    difference: str = ""

    @property
    def target(self) -> tuple[Kind, str]:
        """See ``_Write.target``."""
        return kind_of(self.wanted), name_of(self.wanted)


@dataclass(frozen=True, slots=True)
class Delete(_Write):
    """Delete exactly this live object; ``propagation`` says whether its dependents are deleted too."""

    kind: Kind
    live: Object
    propagation: str = "Background"

    @property
    def target(self) -> tuple[Kind, str]:
        """See ``_Write.target``."""
        return self.kind, name_of(self.live)


@dataclass(frozen=True, slots=True)
class Resize(_Write):
    """Let a volume claim grow to ``capacity``."""

    claim: Object
    capacity: str

    @property
    def target(self) -> tuple[Kind, str]:
        """See ``_Write.target``."""
        return kinds.CLAIM, name_of(self.claim)


Write = Apply | Delete | Resize


@dataclass(frozen=True, slots=True)
class Result:
    """A write that was done, or that the API refused with ``error``."""

    write: Write
    error: VectorCacheError | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What to do about a resource.

    Attributes:
        writes: the next writes, in their order. As long as there are any, nothing else is set: ``decide`` is called
            again with their results.
        status: the status to write if it differs from the present one.
        notices: Events to emit.
        issues: what is wrong, as the condition Degraded reports it.
        requeue_after: seconds until the next pass even if nothing changes, or None.
    """

    writes: tuple[Write, ...] = ()
    status: Object | None = None
    notices: tuple[Notice, ...] = ()
    issues: tuple[Issue, ...] = ()
    requeue_after: float | None = None
