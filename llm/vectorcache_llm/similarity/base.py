"""The interface of similarity indexes: entries by identity, and the most similar ones of a partition."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from vectorcache.errors import InvalidInput
from vectorcache.vectors.metric import Floats
from vectorcache_llm.opened import Opened
from vectorcache_llm.scope import EVERYBODY, EVERYTHING, MAX_CHARACTERS, Scope, Selection


@dataclass(frozen=True, slots=True)
class Partition:
    """What a search sees: the entries of one scope and one context, and nothing else.

    ``context`` is whatever must be the same besides the text that is compared: for a response cache the digest of
    model, parameters, system prompt, earlier turns and tools. Printable, at most 200 characters, may be empty.

    Raises:
        InvalidInput: the context is no string, is too long, or has a control character.
    """

    scope: Scope = EVERYBODY
    context: str = ""

    def __post_init__(self) -> None:
        context = self.context
        if not isinstance(context, str) or len(context) > MAX_CHARACTERS or not context.isprintable():
            allowed = f"at most {MAX_CHARACTERS} characters, none of them a control character"
            raise InvalidInput("context", self.context, allowed)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One entry.

    Attributes:
        id: its identity within its scope, printable, 1 to 200 characters; a digest, as a rule.
        partition: where searches find it.
        vector: (d,) float32 of length 1 (or zeros, which are similar to nothing).
        text: what was embedded.
        payload: what the caller wants back.
        created_at: seconds since the epoch.
        expires_at: seconds since the epoch from which on it is not found; None for never.
        tags: for invalidation.
        metadata: for people and exports.
    """

    id: str
    partition: Partition
    vector: Floats
    text: str
    payload: bytes
    created_at: float
    expires_at: float | None = None
    tags: frozenset[str] = frozenset()
    metadata: Mapping[str, str] = field(default_factory=dict)


class Match(NamedTuple):
    """An entry that was found, and its cosine similarity, -1 to 1."""

    entry: IndexEntry
    similarity: float


class Lookup(NamedTuple):
    """What one look-up found: the entry of exactly the id asked for; or else the most similar ones."""

    entry: IndexEntry | None
    matches: Sequence[Match]


@dataclass(frozen=True, slots=True)
class IndexStats:
    """What an index holds. None where it does not know."""

    entries: int | None
    bytes: int | None


class SimilarityIndex(Opened):
    """Entries of one embedder. Opened before its first use (``async with`` does), closed once.

    The index is made for one fingerprint and dimension; a backend that holds entries of another fingerprint keeps
    them apart (in its names), or ``open`` raises ``FingerprintMismatch``. A search sees one partition: what other
    partitions hold neither appears in its answer nor crowds anything out of it. The similarity returned is the
    exact cosine, whatever approximation found the candidates. A look-up never extends an entry's life.

    Calls may run concurrently. All but the constructor raise ``Unavailable`` where the backend does not do its work
    within its deadline, and writing raises ``Unsupported`` where the index is read-only.
    """

    name: str
    """Of the tier, in metrics: "memory", "redis", ..."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Of the embedder whose vectors it takes."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Components of a vector."""

    @abstractmethod
    async def open(self) -> None:
        """Make ready, creating what is missing on a server; a second call does nothing."""

    @abstractmethod
    async def add(self, entries: Sequence[IndexEntry]) -> None:
        """Keep entries, replacing those of the same scope and id; when this returns, searches find them.

        Raises:
            InvalidInput: a vector of a wrong dimension, not finite, or not of length 1; an id or text that is not
            allowed.
        """

    @abstractmethod
    async def get(self, scope: Scope, id: str) -> IndexEntry | None:  # noqa: A002 - the field's name
        """The entry of exactly this id, or None."""

    @abstractmethod
    async def search(
        self, partition: Partition, vector: Floats, k: int = 1, min_similarity: float = 0.0
    ) -> list[Match]:
        """The at most ``k`` most similar entries of at least ``min_similarity``, the most similar first.

        Raises:
            InvalidInput: ``k`` is less than 1, or the vector is of a wrong dimension or not finite.
        """

    async def lookup(
        self,
        id: str,  # noqa: A002 - the field's name
        partition: Partition,
        vector: Floats,
        k: int = 1,
        min_similarity: float = 0.0,
    ) -> Lookup:
        """``get`` in the partition's scope, and ``search`` where that finds nothing; one round trip on a server.

        Raises:
            InvalidInput: as ``search``.
        """
        entry = await self.get(partition.scope, id)
        if entry is not None:
            return Lookup(entry, ())
        return Lookup(None, await self.search(partition, vector, k, min_similarity))

    @abstractmethod
    async def delete(self, scope: Scope, *ids: str) -> int:
        """Delete entries; say how many were there."""

    @abstractmethod
    async def delete_where(self, selection: Selection) -> int:
        """Delete every selected entry (``pattern`` is matched with id and text); say how many there were."""

    @abstractmethod
    def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[IndexEntry]:
        """Every selected entry, in no order, read in bounded batches."""

    @abstractmethod
    async def stats(self) -> IndexStats:
        """What it holds now."""
