from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorcache.errors import Overloaded, Unavailable
from vectorcache.index.query import Answer
from vectorcache.routing import batcher as module
from vectorcache.routing.batcher import Batcher
from vectorcache.vectors.metric import Floats

NEVER = 3600.0
name: ContextVar[str] = ContextVar("name")


class Searches:
    """Searches that wait until they are let go. A query's answer has its own first component as id."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[int]]] = []
        self.names: list[str] = []
        self.gates: list[asyncio.Event] = []
        self.error: Exception | None = None
        self._came = asyncio.Condition()

    async def search(self, kind: str, vectors: Floats) -> list[Answer]:
        numbers = [int(vector[0]) for vector in vectors]
        self.batches.append((kind, numbers))
        self.names.append(name.get("nobody"))
        gate = asyncio.Event()
        self.gates.append(gate)
        async with self._came:
            self._came.notify_all()
        await gate.wait()
        if self.error is not None:
            raise self.error
        return [Answer([number], [0.0], None, 1.0) for number in numbers]

    async def came(self, count: int) -> None:
        async with asyncio.timeout(5), self._came:
            await self._came.wait_for(lambda: len(self.batches) >= count)

    def let_all_go(self) -> None:
        for gate in self.gates:
            gate.set()


@pytest.fixture
def searches() -> Searches:
    return Searches()


@pytest.fixture
def together(searches: Searches) -> Batcher[str]:
    return Batcher(searches.search, linger=NEVER)


async def start(together: Batcher[str], *numbers: int, kind: str = "a") -> asyncio.Task[list[Answer]]:
    vectors = np.array([[number, 0] for number in numbers], dtype=np.float32)
    task = asyncio.create_task(together.search(kind, vectors))
    await asyncio.sleep(0)  # until it waits
    return task


def ids(answers: Sequence[Answer]) -> list[int | str]:
    return [answer.ids[0] for answer in answers]


async def test_the_first_leaves_at_once_and_those_that_wait_leave_together(
    searches: Searches, together: Batcher[str]
) -> None:
    first = await start(together, 1)
    waiting = [await start(together, *numbers) for numbers in ((2,), (3, 4), (5,))]
    assert searches.batches == [("a", [1])]
    searches.gates[0].set()
    assert ids(await first) == [1]
    await searches.came(2)
    assert searches.batches[1] == ("a", [2, 3, 4, 5])
    searches.gates[1].set()
    assert [ids(await task) for task in waiting] == [[2], [3, 4], [5]]


async def test_kinds_travel_apart_and_do_not_wait_for_each_other(
    searches: Searches, together: Batcher[str]
) -> None:
    tasks = [await start(together, number, kind=kind) for number, kind in ((1, "a"), (2, "b"), (3, "c"))]
    assert searches.batches == [("a", [1]), ("b", [2]), ("c", [3])]
    searches.let_all_go()
    assert [ids(await task) for task in tasks] == [[1], [2], [3]]


async def test_nobody_waits_longer_than_the_linger(searches: Searches) -> None:
    together = Batcher(searches.search, linger=0.01)
    slow = await start(together, 1)
    second = await start(together, 2)
    third = await start(together, 3)
    await searches.came(2)
    assert searches.batches == [("a", [1]), ("a", [2, 3])]
    searches.gates[1].set()
    assert ids(await second) + ids(await third) == [2, 3]
    assert not slow.done()
    searches.let_all_go()
    assert ids(await slow) == [1]


async def test_an_idle_line_is_forgotten(searches: Searches, together: Batcher[str]) -> None:
    for number in range(3):
        task = await start(together, number, kind=f"kind {number}")
        searches.let_all_go()
        await task
    assert not together._queues


async def test_a_load_is_cut_at_a_bound(searches: Searches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BATCH", 3)
    together = Batcher(searches.search, linger=0.001)
    first = await start(together, 1)
    waiting = [await start(together, *numbers) for numbers in ((2, 3), (4,), (5,), (6, 7, 8, 9, 10))]
    searches.gates[0].set()
    await searches.came(4)
    assert searches.batches[1:] == [("a", [2, 3, 4]), ("a", [5]), ("a", [6, 7, 8, 9, 10])]
    searches.let_all_go()
    assert [ids(await task) for task in (first, *waiting)][-1] == [6, 7, 8, 9, 10]


async def test_the_line_is_bounded(
    searches: Searches, together: Batcher[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    tasks = [await start(together, number) for number in range(3)]
    with pytest.raises(Overloaded, match="2 searches are already queued"):
        await together.search("a", np.zeros((1, 2), dtype=np.float32))
    searches.gates[0].set()
    await searches.came(2)
    searches.let_all_go()
    await asyncio.gather(*tasks)


async def test_an_error_goes_to_all_who_travelled_and_to_nobody_else(
    searches: Searches, together: Batcher[str]
) -> None:
    first, second, third = [await start(together, number) for number in range(3)]
    searches.gates[0].set()
    await first
    await searches.came(2)
    fourth = await start(together, 4)
    searches.error = Unavailable("down")
    searches.gates[1].set()
    for task in (second, third):
        with pytest.raises(Unavailable, match="down"):
            await task
    await searches.came(3)
    searches.error = None
    searches.let_all_go()
    assert ids(await fourth) == [4]


async def test_callers_that_give_up_harm_nobody(searches: Searches, together: Batcher[str]) -> None:
    first = await start(together, 1)
    waiting = [await start(together, number) for number in (2, 3, 4)]
    waiting[1].cancel()
    await asyncio.wait(waiting[1:2])
    first.cancel()  # its place is free: those that wait leave
    await searches.came(2)
    assert searches.batches[1] == ("a", [2, 4]), "nobody asks for those who left"
    waiting[0].cancel()
    searches.let_all_go()
    assert ids(await waiting[2]) == [4]
    assert ids(await _answered(together, searches)) == [9]


async def _answered(together: Batcher[str], searches: Searches) -> list[Answer]:
    task = await start(together, 9)
    searches.let_all_go()
    return await task


async def test_those_that_travel_together_go_in_the_context_of_the_first(
    searches: Searches, together: Batcher[str]
) -> None:
    async def search(who: str, number: int) -> list[Answer]:
        name.set(who)
        return await together.search("a", np.array([[number, 0]], dtype=np.float32))

    tasks = [asyncio.create_task(search(who, number)) for number, who in enumerate("xyz")]
    await searches.came(1)
    await asyncio.sleep(0)
    searches.gates[0].set()
    await searches.came(2)
    searches.let_all_go()
    await asyncio.gather(*tasks)
    assert searches.names == ["x", "y"]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 4), st.integers(0, 3)), max_size=40))
async def test_everyone_gets_his_own_answer(plan: list[tuple[str, int, int]]) -> None:
    """Searches of several sizes and kinds that come at different moments and take different times."""

    async def search(kind: str, vectors: Floats) -> list[Answer]:
        for _ in range(int(vectors[0][0]) % 5):
            await asyncio.sleep(0)
        return [Answer([f"{kind}{int(vector[0])}"], [0.0], None, 1.0) for vector in vectors]

    together = Batcher(search, linger=0.0)

    async def caller(kind: str, numbers: range, pause: int) -> None:
        for _ in range(pause):
            await asyncio.sleep(0)
        vectors = np.array([[number, 0] for number in numbers], dtype=np.float32)
        assert ids(await together.search(kind, vectors)) == [f"{kind}{number}" for number in numbers]

    await asyncio.gather(
        *(caller(kind, range(10 * at, 10 * at + size), pause) for at, (kind, size, pause) in enumerate(plan))
    )
    assert not together._queues
