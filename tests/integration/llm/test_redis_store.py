"""The store on a real Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.asyncio
from tests.support.llm.clock import FakeClock
from tests.support.llm.redis_server import RedisServer, redis_server
from tests.support.llm.store_contract import NEIGHBOURS, StoreContract, entry, keys_of

from vectorcache.errors import DeadlineExceeded, InvalidInput, Unavailable
from vectorcache_llm.kv import KeyValueStore, RedisStore
from vectorcache_llm.kv.redis.codec import HEAD_BYTES
from vectorcache_llm.scope import EVERYBODY, Scope, Selection


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
async def raw(server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(server.url) as raw:
        await raw.flushall()
        yield raw


class TestContract(StoreContract):
    @pytest.fixture
    async def store(
        self, clock: FakeClock, server: RedisServer, raw: redis.asyncio.Redis
    ) -> AsyncIterator[KeyValueStore]:
        async with RedisStore(server.url, clock=clock) as store:
            yield store

    @pytest.fixture
    async def small_store(
        self, clock: FakeClock, server: RedisServer, raw: redis.asyncio.Redis
    ) -> AsyncIterator[KeyValueStore]:
        async with RedisStore(server.url, max_entry_bytes=1000, clock=clock) as store:
            yield store


@pytest.fixture
async def store(server: RedisServer, raw: redis.asyncio.Redis) -> AsyncIterator[RedisStore]:
    async with RedisStore(server.url, deadline=0.5) as store:
        yield store


async def test_redis_removes_what_has_expired(store: RedisStore, raw: redis.asyncio.Redis) -> None:
    now = time.time()
    await store.put(entry("a", expires_at=now + 100), entry("b"))
    assert await store.put_new(entry("c", expires_at=now + 100)) is True
    ends = {
        name.decode().rpartition(":")[2]: await raw.pttl(name) for name in await raw.keys("vectorcache:*")
    }
    assert ends["b"] == -1
    assert 90_000 < ends["a"] <= 100_000
    assert 90_000 < ends["c"] <= 100_000


async def test_an_entry_without_expiry_replaces_one_with_expiry(
    store: RedisStore, raw: redis.asyncio.Redis
) -> None:
    await store.put(entry("a", expires_at=time.time() + 100))
    await store.put(entry("a"))
    assert await raw.pttl("vectorcache:default:::a") == -1


async def test_names_can_be_read_and_cannot_be_forged(store: RedisStore, raw: redis.asyncio.Redis) -> None:
    await store.put(entry("key", scope=Scope("acme", "bob")), entry("x:y*", scope=Scope("a:b", "[c]")))
    assert sorted(await raw.keys("*")) == [
        b"vectorcache:a%3Ab:%5Bc%5D::x%3Ay%2A",
        b"vectorcache:acme:bob::key",
    ]


@pytest.mark.parametrize("prefix", ["vectorcache2", "vectorcache:chat", "vector", "vectorcache:"])
async def test_other_prefixes_and_foreign_keys_are_not_touched(
    store: RedisStore, server: RedisServer, raw: redis.asyncio.Redis, prefix: str
) -> None:
    foreign = {
        b"vectorcache": b"1",
        b"vectorcache:a": b"1",
        b"vectorcache:default:::a:b": b"1",
        b"vectorcache:%zz:::a": b"1",
        b"vectorcache::::a": b"1",
        b"vectorcache:%64efault:::a": b"1",
        b"vectorcache:default:::\xff": b"1",
        b"other": b"1",
    }
    await raw.mset(foreign)
    async with RedisStore(server.url, prefix) as other:
        await other.put(entry("a"))
        await store.put(entry("a"))
        assert await keys_of(store) == await keys_of(other) == ["a"]
        assert await store.delete_where(Selection()) == 1
        assert await keys_of(other) == ["a"]
    assert await raw.mget(list(foreign)) == [b"1"] * len(foreign)


async def test_a_foreign_value_is_a_miss_and_is_replaced(store: RedisStore, raw: redis.asyncio.Redis) -> None:
    for key, value in {
        "text": b"hello",
        "short": b"VCK1",
        "torn": b"VCK1" + b"\xff" * 16 + b"\x01\0\0\0",
    }.items():
        await raw.set(f"vectorcache:default:::{key}", value)
    await raw.rpush("vectorcache:default:::list", "1")
    names = ["text", "short", "torn", "list"]
    assert await store.get_many(EVERYBODY, names) == {}
    assert await keys_of(store) == []
    await store.put(*map(entry, names))
    assert sorted(await store.get_many(EVERYBODY, names)) == sorted(names)


async def test_deleting_by_tag_reads_heads_of_any_length(store: RedisStore) -> None:
    long = tuple(f"tag {number:05}" for number in range(HEAD_BYTES))
    await store.put(entry("long", b"x" * 200_000, tags=long), entry("short", b"x" * 200_000, tags=("tag",)))
    assert await store.delete_where(Selection(tags=frozenset({"tag 04000"}))) == 1
    assert await keys_of(store) == ["short"]


async def test_each_call_is_one_round_trip(store: RedisStore, raw: redis.asyncio.Redis) -> None:
    """Counts the writes of the connections, of which each call makes one, regardless of its number of commands."""
    keys = [str(number) for number in range(50)]
    writes = 0
    connection = redis.asyncio.Connection

    class Counting(connection):
        async def send_packed_command(self, command: object, *args: object, **options: object) -> None:
            nonlocal writes
            writes += 1
            await super().send_packed_command(command, *args, **options)

    pool = raw.connection_pool
    counted = redis.asyncio.ConnectionPool(connection_class=Counting, **pool.connection_kwargs)
    async with redis.asyncio.Redis(connection_pool=counted) as client:
        one = RedisStore(client)
        await one.get(EVERYBODY, "a")  # the connection's own greetings
        for call in (
            one.put(*map(entry, keys)),
            one.get_many(EVERYBODY, keys),
            one.put_new(entry("new")),
            one.delete(EVERYBODY, *keys),
        ):
            writes = 0
            await call
            assert writes == 1
    await counted.aclose()


async def test_a_client_can_be_given_and_stays_open(server: RedisServer, raw: redis.asyncio.Redis) -> None:
    async with RedisStore(raw) as store:
        await store.put(entry("a"))
    assert await raw.ping()


@pytest.mark.parametrize(
    "arguments",
    [
        {"server": "http://localhost"},
        {"server": "redis://localhost?socket_timeout=soon"},
        {"server": "redis://localhost", "prefix": "a*"},
        {"server": "redis://localhost", "prefix": ""},
        {"server": "redis://localhost", "deadline": 0},
        {"server": "redis://localhost", "max_connections": 0},
        {"server": "redis://localhost", "max_entry_bytes": 0},
    ],
)
def test_settings_are_checked(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        RedisStore(**arguments)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@localhost",
        "redis://user:secret@[",
        "redis://user:secret@h:port",
        "secret",
        "secret:x",
    ],
)
def test_a_password_is_in_no_error(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        RedisStore(url)
    assert "secret" not in f"{caught.value} {caught.value.value}"


async def test_a_client_that_decodes_is_refused() -> None:
    async with redis.asyncio.Redis(decode_responses=True) as client:
        with pytest.raises(InvalidInput, match="decode_responses"):
            RedisStore(client)


class TestTrouble:
    """Tests with a separate server, because they disrupt it."""

    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[RedisServer]:
        with redis_server(tmp_path) as server:
            yield server

    @pytest.fixture
    async def store(self, server: RedisServer) -> AsyncIterator[RedisStore]:
        async with RedisStore(server.url, deadline=0.5, max_connections=4) as store:
            yield store

    async def test_an_unreachable_server_is_unavailable_and_used_again_after_a_restart(
        self, server: RedisServer, store: RedisStore
    ) -> None:
        await asyncio.gather(*(store.put(entry(str(number))) for number in range(8)))
        server.kill()
        for call in (store.get(EVERYBODY, "a"), store.put(entry("a")), store.delete_where(Selection())):
            with pytest.raises(Unavailable):
                await call
        server.start_again()
        for number in range(8):  # each pooled connection is a dead one, and no call notices
            await store.put(entry(str(number)))
        assert len(await keys_of(store)) == 8

    async def test_a_missing_server_does_not_prevent_opening(self, server: RedisServer) -> None:
        server.kill()
        async with RedisStore(server.url, deadline=0.5) as store:
            with pytest.raises(Unavailable):
                await store.get(EVERYBODY, "a")
            server.start_again()
            assert await store.get(EVERYBODY, "a") is None

    async def test_a_frozen_server_is_unavailable_within_the_deadline_and_replies_are_never_mixed_up(
        self, server: RedisServer, store: RedisStore
    ) -> None:
        await store.put(*(entry(str(number), str(number).encode()) for number in range(20)))
        server.freeze()
        late = await asyncio.gather(
            *(store.get(EVERYBODY, str(number)) for number in range(20)), return_exceptions=True
        )
        assert {type(error) for error in late} <= {DeadlineExceeded, Unavailable}
        server.thaw()
        for number in range(20):
            found = await store.get(EVERYBODY, str(number))
            assert found == entry(str(number), str(number).encode())

    async def test_a_cancelled_call_leaves_no_reply_for_the_next(self, store: RedisStore) -> None:
        await store.put(*(entry(str(number), str(number).encode()) for number in range(20)))
        for number in range(19):
            task = asyncio.create_task(store.get(EVERYBODY, str(number)))
            for _ in range(number):  # at every step of its way
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await store.get(EVERYBODY, "19") == entry("19", b"19")

    async def test_a_full_server_is_unavailable(self, server: RedisServer, store: RedisStore) -> None:
        await store.put(entry("a"))
        async with redis.asyncio.Redis.from_url(server.url) as raw:
            await raw.config_set("maxmemory", "1")
        with pytest.raises(Unavailable, match="maxmemory") as caught:
            await store.put(entry("b", b"what somebody wrote"))
        assert "somebody" not in str(caught.value)
        assert caught.value.__cause__ is None  # it would show in a traceback
        assert await store.get(EVERYBODY, "a") == entry("a")

    async def test_scopes_with_glob_characters_are_isolated(self, store: RedisStore) -> None:
        await store.put(*(entry("key", scope=scope) for scope in NEIGHBOURS))
        for scope in NEIGHBOURS:
            assert [one.scope async for one in store.scan(Selection.of(scope))] == [scope]
