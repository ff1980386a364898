"""Turns of sessions in a key-value store: numbered from 0, an entry each, so that no turn replaces another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from vectorcache.errors import Overloaded
from vectorcache_llm.chat.turns import (
    Head,
    Kept,
    Summary,
    Turn,
    decode,
    encode,
    head_key,
    number_of,
    summary_key,
    turn_key,
)
from vectorcache_llm.kv.base import Entry, KeyValueStore
from vectorcache_llm.scope import Scope
from vectorcache_llm.stored.parts import Opened

PAGE = 64
"""Turns that are read at once; and how far a head may lag behind."""

MAX_RACES = 1_000
"""Numbers that others may take before us."""


class Session(NamedTuple):
    """A session of a scope."""

    scope: Scope
    name: str


class State(NamedTuple):
    """What is known of a session before its turns are read. The summary is one of this very session."""

    head: Head | None
    summary: Summary | None


class Log:
    """Appends and reads. There is no lock: a number belongs to whoever puts it first, in any process.

    Args:
        store: where turns are.
        ttl: seconds that a turn lives; None for ever.
        clock: seconds since the epoch.
        token: makes what tells sessions of one name apart.
    """

    def __init__(
        self,
        store: Opened[KeyValueStore],
        ttl: float | None,
        clock: Callable[[], float],
        token: Callable[[], str],
    ) -> None:
        self._store = store
        self._ttl = ttl
        self._clock = clock
        self._token = token

    async def append(self, session: Session, turns: Sequence[Turn], tags: frozenset[str]) -> list[Entry]:
        """Put turns at the end, one after another; their entries."""
        head = (await self.state(session)).head or Head(0, self._token())
        number = head.next
        entries = []
        for turn in turns:
            entries.append(await self._put(session, number, turn, tags))
            number = number_of(entries[-1].key) + 1
        await self._keep(session, head_key(session.name), Head(number, head.born))
        return entries

    async def state(self, session: Session) -> State:
        """Head and summary."""
        keys = head_key(session.name), summary_key(session.name)
        found = await (await self._store()).get_many(session.scope, keys)
        head, summary = (decode(key, found[key].value) if key in found else None for key in keys)
        ours = isinstance(head, Head) and isinstance(summary, Summary) and summary.born == head.born
        return State(head if isinstance(head, Head) else None, summary if ours else None)  # type: ignore[arg-type]

    async def end(self, session: Session, head: Head | None) -> int:
        """The number that the next turn gets: a head may lag behind."""
        number = head.next if head else 0
        while turns := await self.read(session, range(number, number + PAGE)):
            number = max(turns) + 1
        return number

    async def read(self, session: Session, numbers: Iterable[int]) -> dict[int, Turn]:
        """Those of the turns that are there, in one round trip."""
        keys = {turn_key(session.name, number): number for number in numbers}
        found = await (await self._store()).get_many(session.scope, keys)
        turns = {number: decode(key, found[key].value) for key, number in keys.items() if key in found}
        return {number: turn for number, turn in turns.items() if isinstance(turn, Turn)}

    async def summarise(self, session: Session, summary: Summary) -> bool:
        """Keep a summary, unless its session is gone; say whether it was kept."""
        await self._keep(session, summary_key(session.name), summary)
        head = (await self.state(session)).head
        if head is not None and head.born == summary.born:
            return True
        await (await self._store()).delete(session.scope, summary_key(session.name))
        return False

    async def forget_summary(self, session: Session) -> None:
        """Delete the summary; one that is being made, in whatever process, will be one of another session."""
        head = (await self.state(session)).head
        if head is not None:
            await self._keep(session, head_key(session.name), Head(head.next, self._token()))
        await (await self._store()).delete(session.scope, summary_key(session.name))

    async def _put(self, session: Session, number: int, turn: Turn, tags: frozenset[str]) -> Entry:
        store = await self._store()
        for taken in range(MAX_RACES):
            entry = self._entry(session, turn_key(session.name, number + taken), turn, tags)
            if await store.put_new(entry):
                return entry
        raise Overloaded(f"session {session.name!r}: {MAX_RACES} numbers were taken by others")

    async def _keep(self, session: Session, key: str, value: Kept) -> None:
        await (await self._store()).put(self._entry(session, key, value, frozenset()))

    def _entry(self, session: Session, key: str, value: Kept, tags: frozenset[str]) -> Entry:
        now = self._clock()
        return Entry(
            session.scope, key, encode(value), now, None if self._ttl is None else now + self._ttl, tags
        )
