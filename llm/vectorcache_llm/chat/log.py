"""The turns of sessions in a key-value store: one entry per turn, numbered from 0, so that no turn is overwritten."""

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
"""Number of turns read at once."""

MAX_RACES = 1_000
"""Maximum number of turn numbers that concurrent appends may take before an append fails."""


class Session(NamedTuple):
    """A session of a scope."""

    scope: Scope
    name: str


class State(NamedTuple):
    """The metadata of a session. The summary is None if it belongs to an earlier session of the same name."""

    head: Head | None
    summary: Summary | None


class Log:
    """The log of each session. It needs no lock, because ``put_new`` gives each number to one writer of any process.

    Args:
        store: the store of the turns.
        ttl: lifetime of a turn in seconds; None for no expiry.
        clock: seconds since the epoch.
        token: returns a unique token, which distinguishes sessions of the same name.
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
        """Append turns in order and return their entries."""
        head = (await self.state(session)).head or Head(0, self._token())
        number = head.next
        entries = []
        for turn in turns:
            entries.append(await self._put(session, number, turn, tags))
            number = number_of(entries[-1].key) + 1
        await self._keep(session, head_key(session.name), Head(number, head.born))
        return entries

    async def state(self, session: Session) -> State:
        """Return the head and the summary."""
        keys = head_key(session.name), summary_key(session.name)
        found = await (await self._store()).get_many(session.scope, keys)
        head, summary = (decode(key, found[key].value) if key in found else None for key in keys)
        ours = isinstance(head, Head) and isinstance(summary, Summary) and summary.born == head.born
        return State(head if isinstance(head, Head) else None, summary if ours else None)  # type: ignore[arg-type]

    async def end(self, session: Session, head: Head | None) -> int:
        """Return the number of the next turn, which may be larger than that in the head."""
        number = head.next if head else 0
        while turns := await self.read(session, range(number, number + PAGE)):
            number = max(turns) + 1
        return number

    async def read(self, session: Session, numbers: Iterable[int]) -> dict[int, Turn]:
        """Return the turns that exist, in one round trip."""
        keys = {turn_key(session.name, number): number for number in numbers}
        found = await (await self._store()).get_many(session.scope, keys)
        turns = {number: decode(key, found[key].value) for key, number in keys.items() if key in found}
        return {number: turn for number, turn in turns.items() if isinstance(turn, Turn)}

    async def summarise(self, session: Session, summary: Summary) -> bool:
        """Store a summary unless its session was deleted, and return whether it was stored."""
        await self._keep(session, summary_key(session.name), summary)
        head = (await self.state(session)).head
        if head is not None and head.born == summary.born:
            return True
        await (await self._store()).delete(session.scope, summary_key(session.name))
        return False

    async def forget_summary(self, session: Session) -> None:
        """Delete the summary.

        The head gets a new token, so that a summary in progress, in any process, no longer belongs to this session.
        """
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
        raise Overloaded(f"session {session.name!r}: other writers took the next {MAX_RACES} turn numbers")

    async def _keep(self, session: Session, key: str, value: Kept) -> None:
        await (await self._store()).put(self._entry(session, key, value, frozenset()))

    def _entry(self, session: Session, key: str, value: Kept, tags: frozenset[str]) -> Entry:
        now = self._clock()
        return Entry(
            session.scope, key, encode(value), now, None if self._ttl is None else now + self._ttl, tags
        )
