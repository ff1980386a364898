"""The interface of similarity indexes."""

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
    """The entries of one scope and one context, which are all that a search can find.

    ``context`` identifies everything that must match exactly, besides the text that is compared. A response cache uses
    the digest of model, parameters, system prompt, earlier turns and tools. It is printable, has at most 200
    characters, and may be empty.

    Raises:
        InvalidInput: the context is not a string, is too long, or contains a control character.
    """

    scope: Scope = EVERYBODY
    context: str = ""

    def __post_init__(self) -> None:
        context = self.context
        if not isinstance(context, str) or len(context) > MAX_CHARACTERS or not context.isprintable():
            allowed = f"at most {MAX_CHARACTERS} characters, without control characters"
            raise InvalidInput("context", self.context, allowed)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """An entry of a similarity index.

    Attributes:
        id: identity within the scope, printable, 1 to 200 characters; usually a digest.
        partition: partition in which searches find the entry.
        vector: (d,) float32 of length 1, or zeros, which are similar to nothing.
        text: embedded text.
        payload: bytes that are returned to the caller.
        created_at: creation time, in seconds since the epoch.
        expires_at: expiry time, in seconds since the epoch; None for no expiry.
        tags: tags, for invalidation.
        metadata: metadata, for inspection and exports.
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
    """An entry that was found, with its cosine similarity from -1 to 1."""

    entry: IndexEntry
    similarity: float


class Lookup(NamedTuple):
    """The result of a look-up: the entry with the requested id, or otherwise the most similar entries."""

    entry: IndexEntry | None
    matches: Sequence[Match]


@dataclass(frozen=True, slots=True)
class IndexStats:
    """The size of an index. Unknown values are None."""

    entries: int | None
    bytes: int | None


class SimilarityIndex(Opened):
    """An index of the entries of one embedder. It must be opened before use (``async with`` does so).

    The index is bound to one fingerprint and dimension. A backend separates the entries of different fingerprints by
    name, or ``open`` raises ``FingerprintMismatch``. A search covers one partition: entries of other partitions neither
    appear in the result nor displace other entries from it. The returned similarity is the exact cosine, even if the
    candidates were found approximately. A look-up never extends the lifetime of an entry.

    Calls may run concurrently. Every method raises ``Unavailable`` if the backend fails or misses its deadline, and
    writes raise ``Unsupported`` if the index is read-only.
    """

    name: str
    """Name of the tier in metrics: "memory", "redis", ..."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Fingerprint of the embedder whose vectors are accepted."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Number of components of a vector."""

    @abstractmethod
    async def open(self) -> None:
        """Open the index, and create missing structures on a server; a second call does nothing."""

    @abstractmethod
    async def add(self, entries: Sequence[IndexEntry]) -> None:
        """Store entries, replacing those with the same scope and id. Afterwards, searches find them.

        Raises:
            InvalidInput: a vector has the wrong dimension, is not finite, or is not of length 1, or an id or text is
                not allowed.
        """

    @abstractmethod
    async def get(self, scope: Scope, id: str) -> IndexEntry | None:  # noqa: A002 - the field's name
        """Return the entry with this id, or None."""

    @abstractmethod
    async def search(
        self, partition: Partition, vector: Floats, k: int = 1, min_similarity: float = 0.0
    ) -> list[Match]:
        """Return up to ``k`` most similar entries with at least ``min_similarity``, most similar first.

        Raises:
            InvalidInput: ``k`` is less than 1, or the vector has the wrong dimension or is not finite.
        """

    async def lookup(
        self,
        id: str,  # noqa: A002 - the field's name
        partition: Partition,
        vector: Floats,
        k: int = 1,
        min_similarity: float = 0.0,
    ) -> Lookup:
        """Call ``get`` with the partition's scope, and ``search`` if it finds nothing.

        A server may do both in one round trip.

        Raises:
            InvalidInput: see ``search``.
        """
        entry = await self.get(partition.scope, id)
        if entry is not None:
            return Lookup(entry, ())
        return Lookup(None, await self.search(partition, vector, k, min_similarity))

    @abstractmethod
    async def delete(self, scope: Scope, *ids: str) -> int:
        """Delete entries, and return how many existed."""

    @abstractmethod
    async def delete_where(self, selection: Selection) -> int:
        """Delete all selected entries, and return their number. ``pattern`` is matched against id and text."""

    @abstractmethod
    def scan(self, selection: Selection = EVERYTHING) -> AsyncIterator[IndexEntry]:
        """Yield all selected entries, in any order, read in bounded batches."""

    @abstractmethod
    async def stats(self) -> IndexStats:
        """Return the current size."""
