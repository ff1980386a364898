"""Small fake caches that fail on request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from vectorcache.errors import InvalidInput, Unavailable
from vectorcache_llm.managed import ManagedCache, PartHealth, Record
from vectorcache_llm.scope import EVERYTHING, Scope, Selection


class FakeCache(ManagedCache):
    """A cache of texts by tenant, with creation times."""

    def __init__(self, name: str, *entries: tuple[str, str, float]) -> None:
        self.name = name  # type: ignore[misc]
        self.entries = set(entries)
        self.events: list[str] = []
        self.down = False

    async def open(self) -> None:
        self.events.append("open")

    async def close(self) -> None:
        self.events.append("close")

    async def delete_where(self, selection: Selection) -> int:
        self._check()
        gone = {one for one in self.entries if selection.matches(Scope(one[0]), one[2], text=one[1])}
        self.entries -= gone
        return len(gone)

    async def export(self, selection: Selection = EVERYTHING) -> AsyncIterator[Record]:
        for tenant, text, made in sorted(self.entries):
            if selection.matches(Scope(tenant), made, text=text):
                yield {"tenant": tenant, "text": text, "made": made}
                self._check()

    async def restore(self, records: Sequence[Record]) -> int:
        self._check()
        for record in records:
            if "text" not in record:
                raise InvalidInput("record.text", None, "a text")
        self.entries |= {(one["tenant"], one["text"], one["made"]) for one in records}
        return len(records)

    async def health(self) -> Sequence[PartHealth]:
        return [PartHealth("store", not self.down, "down" if self.down else "", 0.001)]

    async def stats(self) -> Mapping[str, Any]:
        self._check()
        return {"entries": len(self.entries)}

    def _check(self) -> None:
        if self.down:
            raise Unavailable(f"{self.name} is down")


@pytest.fixture
def some() -> FakeCache:
    return FakeCache("some", ("acme", "a fish", 100.0), ("other", "a bird", 200.0))


@pytest.fixture
def more() -> FakeCache:
    return FakeCache("more", ("acme", "another fish", 300.0))
