"""A cache of chains and trees of thought by problem."""

from __future__ import annotations

import dataclasses
import hashlib
import time
import unicodedata
from collections.abc import Callable, Iterable
from typing import ClassVar, NamedTuple, TypeAlias, TypeVar

import msgspec

from vectorcache.concurrency import KeyLocks
from vectorcache.errors import CorruptData, InvalidInput, Unavailable
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.kv.base import Entry, KeyValueStore
from vectorcache_llm.observer import Observer, Outcome
from vectorcache_llm.reasoning.chain import ChainOfThought, Step
from vectorcache_llm.reasoning.tree import Node, Thought, TreeOfThought
from vectorcache_llm.response.guard import Guard, Refusal
from vectorcache_llm.scope import EVERYBODY, Scope
from vectorcache_llm.similarity.base import Partition, SimilarityIndex
from vectorcache_llm.stored import Searchable, StoredCache

Reasoning: TypeAlias = ChainOfThought | TreeOfThought
K = TypeVar("K", ChainOfThought, TreeOfThought)


class SimilarReasoning(NamedTuple):
    """Reasoning about a similar problem. ``refused`` is the guard's reason why it may not apply to the problem."""

    id: str
    reasoning: Reasoning
    similarity: float
    refused: Refusal | None


def reasoning_id(problem: str) -> str:
    """Return the id of a problem: the SHA-256 of its text, stripped and in Unicode normal form C."""
    try:
        return hashlib.sha256(unicodedata.normalize("NFC", problem.strip()).encode()).hexdigest()
    except UnicodeEncodeError as error:
        raise InvalidInput("problem", problem, "a text without lone surrogates") from error


class ReasoningCache(StoredCache):
    """One chain or tree for each problem and scope; a new one replaces it.

    A failure of the store counts as a miss and is reported to the observer; ``put`` returns whether the value was
    stored. This object serialises changes of single steps. Between processes the last change wins.

    Args:
        store: store of the values.
        embedder, index: for ``similar``; both or none.
        guard: detects similar problems that are different ones. They are marked, or left out.
        ttl: default lifetime of an entry in seconds; None for no expiry.
        observer: receives lookups and failures.
        clock: seconds since the epoch.

    Raises:
        InvalidInput: ``ttl`` is not positive, or one of ``embedder`` and ``index`` is missing.
        FingerprintMismatch: the index is for another embedder.
    """

    name: ClassVar[str] = "reasoning"

    def __init__(
        self,
        store: KeyValueStore,
        embedder: Embedder | None = None,
        index: SimilarityIndex | None = None,
        *,
        guard: Guard | None = None,
        ttl: float | None = None,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(store, embedder, index, observer=observer, clock=clock)
        self._ttl = _positive(ttl)
        self._guard = guard
        self._locks = KeyLocks()

    async def put(
        self,
        reasoning: Reasoning,
        scope: Scope = EVERYBODY,
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
    ) -> bool:
        """Store the reasoning about its problem and return whether it was stored.

        Raises:
            InvalidInput: ``ttl`` is not positive, or a text is not UTF-8.
        """
        lifetime = self._ttl if ttl is None else _positive(ttl)
        now = self._clock()
        entry = Entry(
            scope,
            reasoning_id(reasoning.problem),
            _encode(reasoning),
            now,
            None if lifetime is None else now + lifetime,
            frozenset(tags),
        )
        return await self._keep(entry)

    async def get(self, problem: str, scope: Scope = EVERYBODY) -> Reasoning | None:
        """Return the reasoning about a problem, or None."""
        return await self.get_by_id(reasoning_id(problem), scope)

    async def get_by_id(self, id: str, scope: Scope = EVERYBODY) -> Reasoning | None:  # noqa: A002 - as in Match
        """Return the reasoning with an id, or None."""
        begin = time.perf_counter()
        try:
            entry = await (await self._store()).get(scope, id)
            found = None if entry is None else _decode(entry)
            outcome = Outcome.MISS if found is None else Outcome.EXACT
        except (CorruptData, Unavailable) as error:
            self._failed("get", error)
            found, outcome = None, Outcome.FAILED
        self._observer.looked_up(self.name, scope.tenant, outcome, time.perf_counter() - begin, key=id)
        return found

    async def get_step(self, problem: str, number: int, scope: Scope = EVERYBODY) -> Step | None:
        """Return one step of a chain, or None if there is no chain.

        Raises:
            NotFound: the chain has no such step.
        """
        found = await self.get(problem, scope)
        return found.step(number) if isinstance(found, ChainOfThought) else None

    async def get_node(self, problem: str, id: str, scope: Scope = EVERYBODY) -> Node | None:  # noqa: A002 - as in Node
        """Return one node of a tree, or None if there is no tree.

        Raises:
            NotFound: the tree has no such node.
        """
        found = await self.get(problem, scope)
        return found.node(id) if isinstance(found, TreeOfThought) else None

    async def put_step(self, problem: str, step: Step, scope: Scope = EVERYBODY) -> bool:
        """Replace a step of a chain or add the next one, and return whether it was stored.

        The first step creates the chain. An existing entry keeps its tags and its expiry.

        Raises:
            InvalidInput: the number would leave a gap, or the problem has a tree.
        """
        empty = ChainOfThought(problem=problem)
        return await self._change(
            problem, scope, lambda old: _expect(ChainOfThought, old or empty).with_step(step)
        )

    async def put_node(self, problem: str, thought: Thought, scope: Scope = EVERYBODY) -> bool:
        """Replace a node of a tree or add one below its parent, and return whether it was stored.

        A node without a parent creates the tree. An existing entry keeps its tags and its expiry.

        Raises:
            InvalidInput: the parent does not exist, the id is elsewhere in the tree, or the problem has a chain.
        """

        def changed(old: Reasoning | None) -> Reasoning:
            return (
                TreeOfThought.grow(problem, [thought])
                if old is None
                else _expect(TreeOfThought, old).with_node(thought)
            )

        return await self._change(problem, scope, changed)

    async def similar(
        self,
        problem: str,
        scope: Scope = EVERYBODY,
        *,
        k: int = 3,
        min_similarity: float = 0.7,
        refused: bool = False,
    ) -> list[SimilarReasoning]:
        """Return reasoning about similar problems, the most similar first; none if the cache fails.

        Args:
            problem: text of the problem.
            scope: scope to search.
            k: maximum number of results.
            min_similarity: minimum cosine similarity.
            refused: whether to include results that the guard refuses, with their refusal.

        Raises:
            Unsupported: the cache has no index.
            InvalidInput: ``k`` is less than 1.
        """
        begin = time.perf_counter()
        found: list[SimilarReasoning] = []
        outcome = Outcome.MISS
        try:
            for match in await self._similar(Partition(scope), problem, k, min_similarity):
                entry = await (await self._store()).get(scope, match.key)
                if entry is not None:  # the index may still have entries that the store lost
                    why = self._guard.refuses(problem, match.text) if self._guard else None
                    found.append(SimilarReasoning(match.key, _decode(entry), match.similarity, why))
            if found:
                outcome = Outcome.REFUSED if all(one.refused for one in found) else Outcome.SEMANTIC
        except (CorruptData, Unavailable) as error:
            self._failed("similar", error)
            found, outcome = [], Outcome.FAILED
        self._observer.looked_up(self.name, scope.tenant, outcome, time.perf_counter() - begin)
        return [one for one in found if refused or one.refused is None]

    async def delete(self, problem: str, scope: Scope = EVERYBODY) -> bool:
        """Delete the reasoning about a problem and return whether it existed.

        Raises:
            Unavailable: a backend failed.
        """
        return await self._delete(scope, [reasoning_id(problem)]) > 0

    def _searchable(self, entry: Entry) -> Searchable | None:
        return Searchable("", _decode(entry).problem)

    async def _change(
        self, problem: str, scope: Scope, change: Callable[[Reasoning | None], Reasoning]
    ) -> bool:
        id = reasoning_id(problem)  # noqa: A001 - as in Match
        async with self._locks[f"{scope}{id}"]:
            try:
                old = await (await self._store()).get(scope, id)
                before = None if old is None else _decode(old)
            except (CorruptData, Unavailable) as error:
                self._failed("get", error)
                return False
            after = change(before)
            if old is None:
                return await self.put(after, scope)
            return await self._keep(dataclasses.replace(old, value=_encode(after)))

    async def _keep(self, entry: Entry) -> bool:
        try:
            await (await self._store()).put(entry)
        except Unavailable as error:
            self._failed("put", error)
            return False
        self._observer.stored(self.name, entry.scope.tenant, "", len(entry.value))
        await self._add_to_index([entry])
        return True


def _encode(reasoning: Reasoning) -> bytes:
    try:
        return msgspec.json.encode(reasoning)
    except UnicodeEncodeError as error:
        raise InvalidInput("reasoning", reasoning.problem, "texts without lone surrogates") from error


_decoder = msgspec.json.Decoder(ChainOfThought | TreeOfThought)


def _decode(entry: Entry) -> Reasoning:
    try:
        found: Reasoning = _decoder.decode(entry.value)
    except msgspec.DecodeError as error:
        raise CorruptData(f"reasoning {entry.key}: {error}") from error
    return found


def _expect(kind: type[K], reasoning: Reasoning) -> K:
    if not isinstance(reasoning, kind):
        raise InvalidInput(
            "problem", reasoning.problem, f"a problem with a {kind.__name__} or without reasoning"
        )
    return reasoning


def _positive(ttl: float | None) -> float | None:
    if ttl is not None and not ttl > 0:
        raise InvalidInput("ttl", ttl, "seconds, more than 0, or None")
    return ttl
