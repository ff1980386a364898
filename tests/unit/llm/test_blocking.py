import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.llm.flaky import FlakyStore

from vectorcache.errors import InvalidInput, Unavailable
from vectorcache_llm.blocking import Sync, sync
from vectorcache_llm.manager import Manager
from vectorcache_llm.reasoning import ChainOfThought, ReasoningCache
from vectorcache_llm.scope import Scope

CHAIN = ChainOfThought(problem="How many?", answer="8")


@pytest.fixture
def caches() -> Iterator[Sync]:
    with sync(Manager([ReasoningCache(FlakyStore())])) as opened:
        yield opened


def test_calls_block_and_caches_are_wrapped(caches: Sync) -> None:
    assert caches.reasoning.put(CHAIN)
    assert caches.reasoning.get("How many?") == CHAIN
    assert caches.stats()["reasoning"]["entries"] == 1
    assert caches.reasoning.name == "reasoning"


def test_errors_are_the_same(caches: Sync) -> None:
    with pytest.raises(InvalidInput, match="ttl"):
        caches.reasoning.put(CHAIN, ttl=-1)


def test_an_async_iterator_is_an_iterator(caches: Sync) -> None:
    for number in range(5):
        caches.reasoning.put(ChainOfThought(problem=str(number)), Scope(str(number)))
    assert sorted(record["tenant"] for record in caches.reasoning.export()) == list("01234")


def test_an_iteration_may_end_early() -> None:
    class Source:
        ended = False

        async def open(self) -> None: ...

        async def close(self) -> None: ...

        async def items(self) -> AsyncIterator[int]:
            try:
                for number in range(5):
                    yield number
            finally:
                self.ended = True

    source = Source()
    with sync(source) as face:
        items = face.items()
        assert next(items) == 0
        items.close()
        assert source.ended


def test_methods_keep_their_names_and_docs(caches: Sync) -> None:
    assert caches.reasoning.put.__doc__ == ReasoningCache.put.__doc__


def test_threads_share_one(caches: Sync) -> None:
    with ThreadPoolExecutor(8) as threads:
        kept = threads.map(lambda n: caches.reasoning.put(ChainOfThought(problem=str(n))), range(64))
        assert all(kept)
    assert caches.stats()["reasoning"]["entries"] == 64


def test_close_stops_the_thread_and_later_calls_raise() -> None:
    before = threading.active_count()
    caches = sync(Manager([ReasoningCache(FlakyStore())]))
    caches.close()
    caches.close()
    assert threading.active_count() == before
    with pytest.raises(Unavailable, match="closed"):
        caches.stats()


def test_a_failed_open_leaves_no_thread() -> None:
    class Broken:
        async def open(self) -> None:
            await asyncio.sleep(0)
            raise Unavailable("no")

        async def close(self) -> None: ...

    before = threading.active_count()
    with pytest.raises(Unavailable, match="no"):
        sync(Broken())
    assert threading.active_count() == before


def test_close_waits_for_background_work() -> None:
    class Writer:
        written = False
        task: asyncio.Task[None] | None = None

        async def open(self) -> None: ...

        async def put(self) -> None:
            self.task = asyncio.create_task(self._write())

        async def _write(self) -> None:
            await asyncio.sleep(0)
            self.written = True

        async def close(self) -> None:
            assert self.task is not None
            await self.task

    writer = Writer()
    with sync(writer) as face:
        face.put()
    assert writer.written


def test_closing_one_cache_closes_the_manager() -> None:
    manager = Manager([ReasoningCache(FlakyStore())])
    closed = []
    manager.close = lambda: _note(closed)  # type: ignore[method-assign]
    caches = sync(manager)
    caches.reasoning.close()
    assert closed == ["closed"]
    with pytest.raises(Unavailable, match="closed"):
        caches.stats()


async def _note(closed: list[str]) -> None:
    closed.append("closed")


def test_a_call_from_the_event_loop_thread_does_not_deadlock() -> None:
    class Asking:
        async def open(self) -> None: ...

        async def close(self) -> None: ...

        async def ask(self, question: Callable[[], object]) -> object:
            return question()

    with sync(Asking()) as face, pytest.raises(InvalidInput, match="another thread"):
        face.ask(lambda: face.ask(lambda: 1))
