"""Both indexes on a real Redis: the contract, and what happens when the server is killed, frozen or slow."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.index_contract import (
    DIMENSION,
    FINGERPRINT,
    HERE,
    IndexContract,
    Make,
    entry,
    everything,
    ids,
    near,
    vectors,
)
from tests.support.llm.redis_server import RedisServer, redis_server

from vectorcache.errors import InvalidInput, Unavailable
from vectorcache_llm.scope import EVERYBODY, Scope, Selection
from vectorcache_llm.similarity.base import Partition
from vectorcache_llm.similarity.redis import sizes
from vectorcache_llm.similarity.redis.index import RedisIndex
from vectorcache_llm.similarity.redis.link import Command
from vectorcache_llm.similarity.redis.search import ALGORITHMS, RedisSearchIndex
from vectorcache_llm.similarity.redis.vectorset import RedisVectorSetIndex

KINDS = (RedisSearchIndex, RedisVectorSetIndex)
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


class RedisContract(IndexContract):
    keeps = True
    recall = 0.98
    many = 2000
    kind: type[RedisIndex]

    @pytest.fixture
    def make(self, clock: FakeClock, server: RedisServer) -> Make:
        prefix = f"test{next(_numbers)}"

        def make(**changes: object) -> RedisIndex:
            settings = {"fingerprint": FINGERPRINT, "dimension": DIMENSION, "clock": clock, "deadline": 10.0}
            return self.kind(server.url, prefix=prefix, **{**settings, **changes})  # type: ignore[arg-type]

        return make


class TestSearch(RedisContract):
    kind = RedisSearchIndex


class TestVectorSet(RedisContract):
    kind = RedisVectorSetIndex


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_given_client_works_with_either_protocol(
    server: RedisServer, algorithm: str, protocol: int
) -> None:
    from redis.asyncio import Redis

    async with Redis.from_url(server.url, protocol=protocol) as client:
        prefix = f"own{next(_numbers)}"
        index = RedisSearchIndex(client, FINGERPRINT, DIMENSION, algorithm=algorithm, prefix=prefix)
        async with index:
            rows = vectors(20)
            await index.add([entry(f"{number}", row) for number, row in enumerate(rows)])
            assert ids(await index.search(HERE, rows[3], 1, 0.99)) == ["3"]
            assert ids(list((await index.lookup("none", HERE, rows[4], 1, 0.99)).matches)) == ["4"]
            assert [one.id for one in await index.search_text(HERE, "of 7")] == ["7"]
            assert (await index.stats()).entries == 20
        assert await client.ping()  # it is still open


async def test_full_text_search_stays_within_its_partition(server: RedisServer) -> None:
    async with RedisSearchIndex(server.url, FINGERPRINT, DIMENSION, prefix=f"t{next(_numbers)}") as index:
        other = Partition(Scope("other"))
        a, b, c = vectors(3)
        await index.add(
            [
                entry("a", a, text="How do I reset my password?"),
                entry("b", b, text="Résumé writing tips, please"),
                entry("c", c, other, text="How do I reset my password?"),
                entry("d", np.zeros(DIMENSION, dtype=np.float32), text="Nothing to embed: password"),
            ]
        )
        found = {
            words: sorted(one.id for one in await index.search_text(HERE, words))
            for words in (
                "password reset",
                "password",
                "résumé",
                "nowhere",
                "",
                "*",
                "@text:(x) | password}",
                "how-do",
                "the",
                "do",
                "_ password _",
                "_",
            )
        }
        assert found == {
            "password reset": ["a"],
            "password": ["a", "d"],
            "résumé": ["b"],
            "nowhere": [],
            "": [],
            "*": [],
            "@text:(x) | password}": [],
            "how-do": ["a"],
            "the": [],
            "do": ["a"],
            "_ password _": ["a", "d"],
            "_": [],
        }
        assert [one.id for one in await index.search_text(other, "password")] == ["c"]
        assert len(await index.search_text(HERE, "password", limit=1)) == 1


async def test_keys_and_fields_are_as_the_docs_say(server: RedisServer) -> None:
    from redis.asyncio import Redis

    prefix = f"k{next(_numbers)}"
    async with RedisSearchIndex(server.url, FINGERPRINT, DIMENSION, prefix=prefix) as index:
        await index.add(
            [entry("a", vectors(1)[0], Partition(Scope("a:b*", "u"), "c"), tags=frozenset({"x,y"}))]
        )
        async with Redis.from_url(server.url) as client:
            [key] = [key async for key in client.scan_iter(f"{prefix}:*")]
            assert key.decode().startswith(f"{prefix}:a_3ab_2a:")
            fields = await client.hgetall(key)
            info = await client.execute_command("FT.INFO", index._names.index)
    assert fields[b"tenant"] == b"a_3ab_2a"
    assert fields[b"embedding"] == vectors(1)[0].tobytes()
    assert set(fields) == {
        *(
            b"entry",
            b"text",
            b"embedding",
            b"embedder",
            b"partition",
            b"tenant",
            b"user",
            b"scope",
            b"context",
        ),
        *(b"tags", b"created_at"),
    }
    kinds = str(info)
    assert all(kind in kinds for kind in ("TAG", "TEXT", "NUMERIC", "SORTABLE", "VECTOR"))


@pytest.mark.parametrize("kind", KINDS)
async def test_redis_removes_expired_entries(server: RedisServer, kind: type[RedisIndex]) -> None:
    from redis.asyncio import Redis

    prefix = f"e{next(_numbers)}"
    async with kind(server.url, FINGERPRINT, DIMENSION, prefix=prefix) as index:
        soon, forever = time.time() + 0.05, 1e300
        a, b, c = vectors(3)
        await index.add([entry("a", a, expires_at=soon), entry("b", b, expires_at=forever), entry("c", c)])
        async with Redis.from_url(server.url) as client:
            keys = {one: index._names.entry(EVERYBODY, one) for one in "abc"}
            while await client.exists(keys["a"]):
                assert time.time() < soon + 10
            assert await client.exists(keys["b"], keys["c"]) == 2
        assert ids(await index.search(HERE, a, 3, -1.0)).count("a") == 0


async def test_vectors_of_expired_entries_are_removed(server: RedisServer, clock: FakeClock) -> None:
    prefix = f"s{next(_numbers)}"
    async with RedisVectorSetIndex(server.url, FINGERPRINT, DIMENSION, prefix=prefix, clock=clock) as index:
        await index.add([entry(f"{n}", row, expires_at=clock() + 10) for n, row in enumerate(vectors(30))])
        [key] = await index._link.call("KEYS", f"{prefix}-vectors:*")
        assert await index._link.call("VCARD", key) == 30
        clock.advance(11)
        await index.add([entry("new", vectors(1)[0])])
        assert await index._link.call("VCARD", key) == 1


async def test_vectors_of_moved_entries_are_removed_by_searches(
    server: RedisServer,
) -> None:
    prefix = f"s{next(_numbers)}"
    async with RedisVectorSetIndex(server.url, FINGERPRINT, DIMENSION, prefix=prefix) as index:
        a, b = vectors(2)
        await index.add([entry("moved", a), entry("evicted", a), entry("stays", b)])
        [key] = await index._link.call("KEYS", f"{prefix}-vectors:*")
        await index.add([entry("moved", a, Partition(EVERYBODY, "elsewhere"))])
        await index._link.call("UNLINK", index._names.entry(EVERYBODY, "evicted"))
        assert await index._link.call("VCARD", key) == 3
        assert ids(await index.search(HERE, b, 3, -1.0)) == ["stays"]
        assert await index._link.call("VCARD", key) == 1


async def test_a_vector_that_is_added_again_during_its_removal_stays(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    """An entry is added again after it was read as deleted or expired, and before its vector is removed."""
    prefix, vector = f"r{next(_numbers)}", vectors(1)[0]
    async with RedisVectorSetIndex(server.url, FINGERPRINT, DIMENSION, prefix=prefix, clock=clock) as index:
        await index.add([entry("a", vector)])
        await index._link.call("UNLINK", index._names.entry(EVERYBODY, "a"))
        calls = index._link.calls

        async def late(commands: Sequence[Command], **how: bool) -> list[Any]:
            if any(command[0] in ("EVAL", "VREM") for command in commands):
                monkeypatch.setattr(index._link, "calls", calls)
                await RedisIndex.add(index, [entry("a", vector, expires_at=clock() + 100)])
            return await calls(commands, **how)

        monkeypatch.setattr(index._link, "calls", late)
        assert await index.search(HERE, vector) == []
        assert ids(await index.search(HERE, vector)) == ["a"]
        clock.advance(101)
        monkeypatch.setattr(index._link, "calls", late)
        await index._sweep()
        assert ids(await index.search(HERE, vector)) == ["a"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_a_large_partition_is_searched_by_the_graph(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "LARGE", 100)
    async with RedisSearchIndex(server.url, FINGERPRINT, DIMENSION, prefix=f"l{next(_numbers)}") as index:
        rows = vectors(400)
        await index.add([entry(f"{number}", row) for number, row in enumerate(rows[:300])])
        small = Partition(Scope("small"))
        await index.add([entry(f"{number}", row, small) for number, row in enumerate(rows[300:320])])
        for number in range(10):
            assert ids(await index.search(HERE, near(rows[number], 0.95), 1)) == [f"{number}"]
            assert ids(await index.search(small, near(rows[300 + number], 0.95), 1)) == [f"{number}"]
        large = index._nearest(HERE, rows[0], 1)[0][2]
        assert "BATCHES" in str(large)
        assert "BATCHES" not in str(index._nearest(small, rows[0], 1)[0][2])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_killed_server_is_unavailable_and_used_again_after_a_restart(
    own_server: RedisServer, kind: type[RedisIndex]
) -> None:
    vector = vectors(1)[0]
    async with kind(own_server.url, FINGERPRINT, DIMENSION, deadline=2.0) as index:
        await index.add([entry("a", vector)])
        own_server.kill()
        for call in (index.get(EVERYBODY, "a"), index.search(HERE, vector), index.add([entry("b", vector)])):
            with pytest.raises(Unavailable, match="Redis"):
                await call
        with pytest.raises(Unavailable):
            await index.delete_where(Selection())
        own_server.start_again()
        assert await index.search(HERE, vector) == []
        await index.add([entry("c", vector)])
        assert ids(await index.search(HERE, vector)) == ["c"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_frozen_server_is_unavailable_within_the_deadline(
    own_server: RedisServer, kind: type[RedisIndex]
) -> None:
    vector = vectors(1)[0]
    async with kind(own_server.url, FINGERPRINT, DIMENSION, deadline=0.2, max_connections=2) as index:
        await index.add([entry("a", vector)])
        own_server.freeze()
        for _ in range(4):  # more than there are connections
            with pytest.raises(Unavailable):
                await index.lookup("b", HERE, vector)
        own_server.thaw()
        deadline = time.monotonic() + 10
        while True:
            try:
                assert ids(await index.search(HERE, vector)) == ["a"]
                break
            except Unavailable:
                assert time.monotonic() < deadline


@pytest.mark.parametrize("kind", KINDS)
async def test_opening_with_an_unreachable_server_is_unavailable(kind: type[RedisIndex]) -> None:
    index = kind("redis://127.0.0.1:1/0", FINGERPRINT, DIMENSION)
    with pytest.raises(Unavailable):
        await index.open()
    await index.close()


async def test_a_server_without_the_module_is_unsupported(server: RedisServer) -> None:
    from vectorcache_llm.errors import Unsupported
    from vectorcache_llm.similarity.redis.link import CommandLink

    link = CommandLink(server.url, 1.0, 1)
    with pytest.raises(Unsupported, match="unknown command"):
        await link.call("FT.NONE")
    await link.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_batches_are_atomic(server: RedisServer, kind: type[RedisIndex]) -> None:
    async with kind(server.url, FINGERPRINT, DIMENSION, prefix=f"b{next(_numbers)}") as index:
        await index.add([entry(f"{number}", row) for number, row in enumerate(vectors(100))])
        assert len(await everything(index)) == 100
        assert await index.delete(EVERYBODY, *(f"{number}" for number in range(-10, 50))) == 50


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"prefix": "a:b"}, "prefix"),
        ({"prefix": ""}, "prefix"),
        ({"deadline": 0.0}, "deadline"),
        ({"max_connections": 0}, "max_connections"),
        ({"algorithm": "best"}, "algorithm"),
        ({"expansion": 0}, "expansion"),
    ],
)
def test_bad_settings_are_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{named}"):
        RedisSearchIndex("redis://127.0.0.1:1/0", FINGERPRINT, DIMENSION, **changes)  # type: ignore[arg-type]
