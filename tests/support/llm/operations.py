"""Random operations on an index beside a model of dictionaries; no answer may cross a boundary."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import numpy as np
from tests.support.llm.clock import FakeClock

from vectorcache.vectors.metric import Floats
from vectorcache_llm.scope import Scope, Selection
from vectorcache_llm.similarity.base import IndexEntry, Partition, SimilarityIndex

TENANTS = ("a", "a|b", "{a b}", "*")
USERS = ("", "a", "*")
NAMES = ("", "n")
CONTEXTS = ("", "c")
IDS = tuple(f"id{number}" for number in range(5))


class Operations:
    """Runs operations, and checks every answer with what a dictionary says.

    Each entry's payload names its partition. All vectors lie near one another, so that nothing but the gates keeps
    entries apart.

    Attributes:
        done: operations so far.
        answers: entries that were returned so far.
        crossed: answers of another partition or scope than was asked for.
    """

    def __init__(
        self,
        index: SimilarityIndex,
        clock: FakeClock,
        rng: random.Random,
        dimension: int,
        strict: bool = True,
    ) -> None:
        self._index = index
        self._clock = clock
        self._rng = rng
        self._strict = (
            strict  # whether answers must be right, too, and not only on their side of the boundary
        )
        self._numbers = np.random.default_rng(rng.randrange(2**32))
        self._centre = self._direction(np.zeros(dimension, dtype=np.float32))
        self._model: dict[tuple[Scope, str], IndexEntry] = {}
        self.done = self.answers = self.crossed = 0

    async def run(self, count: int) -> None:
        choices: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self._add, 40),
            (self._search, 40),
            (self._lookup, 15),
            (self._get, 15),
            (self._delete, 10),
            (self._delete_where, 1),
            (self._wait, 2),
        ]
        for operation in self._rng.choices(
            [choice for choice, _ in choices], [weight for _, weight in choices], k=count
        ):
            await operation()
            self.done += 1

    async def _add(self) -> None:
        entries = [self._entry() for _ in range(self._rng.randint(1, 3))]
        await self._index.add(entries)
        for entry in entries:
            self._model[entry.partition.scope, entry.id] = entry

    async def _search(self) -> None:
        partition = self._partition()
        k = self._rng.choice((1, 3, 20))
        found = await self._index.search(partition, self._direction(self._centre), k)
        for match in found:
            self._check(match.entry, partition)
        if self._strict:
            assert len(found) == min(k, len(self._alive(lambda entry: entry.partition == partition)))

    async def _lookup(self) -> None:
        partition, wanted = self._partition(), self._rng.choice(IDS)
        found = await self._index.lookup(wanted, partition, self._direction(self._centre), 3)
        expected = self._alive(lambda entry: entry.partition.scope == partition.scope and entry.id == wanted)
        if found.entry is not None:
            self._check(found.entry, found.entry.partition)
            self.crossed += found.entry.partition.scope != partition.scope
        for match in found.matches:
            self._check(match.entry, partition)
        if self._strict:
            assert (found.entry is not None) == bool(expected)

    async def _get(self) -> None:
        scope, wanted = self._scope(), self._rng.choice(IDS)
        found = await self._index.get(scope, wanted)
        expected = self._alive(lambda entry: entry.partition.scope == scope and entry.id == wanted)
        if found is not None:
            self._check(found, found.partition)
            self.crossed += found.partition.scope != scope
        if self._strict:
            assert (found is not None) == bool(expected)

    async def _delete(self) -> None:
        scope, wanted = self._scope(), self._rng.choice(IDS)
        expected = self._alive(lambda entry: entry.partition.scope == scope and entry.id == wanted)
        deleted = await self._index.delete(scope, wanted)
        self._model.pop((scope, wanted), None)
        if self._strict:
            assert deleted == len(expected)

    async def _delete_where(self) -> None:
        selection = Selection(tenant=self._rng.choice(TENANTS), user=self._rng.choice((None, *USERS)))
        expected = self._alive(lambda entry: selection.matches(entry.partition.scope, entry.created_at))
        deleted = await self._index.delete_where(selection)
        self._model = {
            key: entry
            for key, entry in self._model.items()
            if not selection.matches(entry.partition.scope, entry.created_at)
        }
        if self._strict:
            assert deleted == len(expected)

    async def _wait(self) -> None:
        self._clock.advance(self._rng.uniform(0, 30))

    def _check(self, entry: IndexEntry, partition: Partition) -> None:
        self.answers += 1
        self.crossed += entry.partition != partition or entry.payload != repr(partition).encode()
        assert self.crossed == 0, (entry.partition, partition)
        if self._strict:
            model = self._model[entry.partition.scope, entry.id]
            assert (entry.text, entry.expires_at) == (model.text, model.expires_at)

    def _alive(self, condition: Callable[[IndexEntry], bool]) -> list[IndexEntry]:
        now = self._clock()
        alive = (one for one in self._model.values() if one.expires_at is None or one.expires_at > now)
        return [entry for entry in alive if condition(entry)]

    def _entry(self) -> IndexEntry:
        partition = self._partition()
        return IndexEntry(
            self._rng.choice(IDS),
            partition,
            self._direction(self._centre),
            f"text {self._rng.random()}",
            repr(partition).encode(),
            self._clock(),
            self._rng.choice((None, self._clock() + self._rng.uniform(1, 100))),
        )

    def _partition(self) -> Partition:
        return Partition(self._scope(), self._rng.choice(CONTEXTS))

    def _scope(self) -> Scope:
        return Scope(self._rng.choice(TENANTS), self._rng.choice(USERS), self._rng.choice(NAMES))

    def _direction(self, centre: Floats) -> Floats:
        row = centre + 0.1 * self._numbers.standard_normal(len(centre))
        return np.asarray(row / np.linalg.norm(row), dtype=np.float32)
