"""The index on Qdrant's engine over HTTP: the contract, and what happens when the server is killed or frozen."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Iterator

import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse
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
    same,
    vectors,
)
from tests.support.llm.qdrant_server import QdrantServer, qdrant_server

from vectorcache.errors import DeadlineExceeded, Unavailable
from vectorcache_llm.scope import EVERYBODY, Scope, Selection
from vectorcache_llm.similarity.base import Partition
from vectorcache_llm.similarity.qdrant import QdrantIndex
from vectorcache_llm.similarity.qdrant.index import BATCH, SWEEP_SECONDS
from vectorcache_llm.similarity.qdrant.points import KEYWORDS, NUMBERS

pytestmark = pytest.mark.exhaustive

GRAPH_KB = 10
"""Size of 160 vectors of the contract. Larger partitions are searched with a graph."""
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QdrantServer]:
    with qdrant_server(tmp_path_factory.mktemp("qdrant")) as server:
        yield server


@pytest.fixture(scope="module")
def graph_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QdrantServer]:
    with qdrant_server(tmp_path_factory.mktemp("qdrant"), GRAPH_KB) as server:
        yield server


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QdrantServer]:
    with qdrant_server(tmp_path_factory.mktemp("qdrant")) as server:
        yield server


@pytest.fixture
async def client(server: QdrantServer) -> AsyncIterator[AsyncQdrantClient]:
    client = AsyncQdrantClient(url=server.url, check_compatibility=False)
    yield client
    await client.close()


def name() -> str:
    """A separate collection for each test."""
    return f"test{next(_numbers)}"


class QdrantContract(IndexContract):
    keeps = True
    recall = 0.98
    many = 2000

    @pytest.fixture
    def url(self, server: QdrantServer) -> str:
        return server.url

    @pytest.fixture
    def make(self, clock: FakeClock, url: str) -> Make:
        collection = name()

        def make(**changes: object) -> QdrantIndex:
            settings = {"fingerprint": FINGERPRINT, "dimension": DIMENSION, "clock": clock, "deadline": 10.0}
            return QdrantIndex(url, collection=collection, **{**settings, **changes})  # type: ignore[arg-type]

        return make


class TestPlain(QdrantContract):
    """Few vectors, so that Qdrant in its default configuration compares all vectors of a partition."""

    recall = 1.0


class TestGraph(QdrantContract):
    """Segments with graphs, which are searched with the partition as a filter."""

    @pytest.fixture
    def url(self, graph_server: QdrantServer) -> str:
        return graph_server.url


async def test_a_small_partition_is_found_in_a_large_graph(graph_server: QdrantServer) -> None:
    """Filtering after the search would lose the entries of the small partition."""
    async with QdrantIndex(
        graph_server.url, FINGERPRINT, DIMENSION, collection=name(), deadline=10.0
    ) as index:
        query, crowd = vectors(1)[0], Partition(Scope("crowd"))
        await index.add([entry(f"{n}", near(query, 0.9, n), crowd) for n in range(1000)])
        quiet = [Partition(Scope(f"quiet{number}")) for number in range(20)]
        await index.add([entry(f"{n}", near(query, 0.1, n), quiet[n % 20]) for n in range(100)])
        info = await index._client.get_collection(index._collection)
        assert info.indexed_vectors_count >= 1000
        for number, partition in enumerate(quiet):
            found = ids(await index.search(partition, query, 10))
            assert sorted(found, key=int) == [f"{n}" for n in range(number, 100, 20)]


async def test_fields_are_indexed_as_the_docs_say(server: QdrantServer, client: AsyncQdrantClient) -> None:
    collection = name()
    async with QdrantIndex(server.url, FINGERPRINT, DIMENSION, collection=collection):
        [there] = [
            one.name
            for one in (await client.get_collections()).collections
            if one.name.startswith(f"{collection}-")
        ]
        schema = (await client.get_collection(there)).payload_schema
    kinds = {
        field: (info.data_type.value, getattr(info.params, "is_tenant", None))
        for field, info in schema.items()
    }
    assert kinds == {
        **{field: ("keyword", field == "tenant") for field in KEYWORDS},
        **dict.fromkeys(NUMBERS, ("float", None)),
    }


async def test_concurrent_opens_create_one_collection(server: QdrantServer) -> None:
    collection, rows = name(), vectors(8)
    indexes = [QdrantIndex(server.url, FINGERPRINT, DIMENSION, collection=collection) for _ in rows]
    await asyncio.gather(*(index.open() for index in indexes))
    await asyncio.gather(
        *(index.add([entry(f"{n}", row)]) for n, (index, row) in enumerate(zip(indexes, rows, strict=True)))
    )
    for index in indexes:
        assert len(await everything(index)) == len(rows)
        await index.close()


async def test_existing_and_missing_collections_are_distinguished(client: AsyncQdrantClient) -> None:
    """The index relies on the HTTP status, which the client's local mode does not have."""
    collection, params = name(), models.VectorParams(size=DIMENSION, distance=models.Distance.DOT)
    with pytest.raises(UnexpectedResponse, match=f"Collection `{collection}` doesn") as missing:
        await client.count(collection)
    await client.create_collection(collection, vectors_config=params)
    with pytest.raises(UnexpectedResponse, match="already exists") as conflicting:
        await client.create_collection(collection, vectors_config=params)
    assert (missing.value.status_code, conflicting.value.status_code) == (404, 409)


async def test_the_server_refuses_what_it_does_not_understand(client: AsyncQdrantClient) -> None:
    """If the server ignored an unknown filter, other tests could pass wrongly."""
    collection, params = name(), models.VectorParams(size=DIMENSION, distance=models.Distance.DOT)
    await client.create_collection(collection, vectors_config=params)
    value = models.FieldCondition(key="a", match=models.MatchValue(value="x"))
    for refused in (
        client.scroll(collection, models.Filter(must_not=[value])),
        client.scroll(
            collection, models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="a"))])
        ),
        client.scroll(
            collection, models.Filter(must=[models.FieldCondition(key="a", match=models.MatchText(text="x"))])
        ),
        client.scroll(collection, models.Filter(must=[models.FieldCondition(key="a", range=models.Range())])),
        client.query_points(collection, query=[0.0] * DIMENSION, score_threshold=0.5),
        client.query_points(collection, query=[0.0] * (DIMENSION + 1)),
        client.upsert(collection, [models.PointStruct(id="none", vector=[0.0] * DIMENSION, payload={})]),
        client.get_aliases(),
    ):
        with pytest.raises(UnexpectedResponse) as error:
            await refused
        assert error.value.status_code == 400


async def test_expired_entries_are_removed_periodically(
    server: QdrantServer, client: AsyncQdrantClient
) -> None:
    clock, rows = FakeClock(), vectors(4)
    async with QdrantIndex(server.url, FINGERPRINT, DIMENSION, collection=name(), clock=clock) as index:
        await index.add([entry("a", rows[0], expires_at=clock() + 1), entry("b", rows[1])])
        clock.advance(SWEEP_SECONDS - 1)
        await index.add([entry("c", rows[2])])
        assert (await client.count(index._collection)).count == 3
        clock.advance(1)
        await index.add([entry("d", rows[3])])
        assert (await client.count(index._collection)).count == 3
        assert await everything(index) == ["b", "c", "d"]


async def test_a_deleted_collection_is_created_again(server: QdrantServer, client: AsyncQdrantClient) -> None:
    vector = vectors(1)[0]
    async with QdrantIndex(server.url, FINGERPRINT, DIMENSION, collection=name()) as index:
        await index.add([entry("a", vector)])
        calls = (
            lambda: index.search(HERE, vector),
            lambda: index.get(EVERYBODY, "a"),
            lambda: index.delete_where(Selection()),
            lambda: index.add([entry("b", vector)]),
        )
        for call in calls:
            await client.delete_collection(index._collection)
            assert not await call()
            schema = (await client.get_collection(index._collection)).payload_schema
            assert {*schema} == {*KEYWORDS, *NUMBERS}
        assert ids(await index.search(HERE, vector)) == ["b"]


async def test_large_batches_are_sent_in_several_requests(server: QdrantServer) -> None:
    """Qdrant rejects requests of more than 32 MiB."""
    rows = vectors(BATCH, 5)
    async with QdrantIndex(server.url, FINGERPRINT, DIMENSION, collection=name(), deadline=20.0) as index:
        entries = [entry(f"{n}", row, payload=bytes(300_000)) for n, row in enumerate(rows)]
        await index.add(entries)
        assert (await index.stats()).entries == len(entries)
        assert same(await index.get(EVERYBODY, "77"), entries[77])


async def test_a_killed_server_is_unavailable_and_has_all_entries_after_a_restart(
    own_server: QdrantServer,
) -> None:
    rows = vectors(300)
    kept = [entry(f"{number}", row, tags=frozenset({"t"})) for number, row in enumerate(rows[:200])]
    async with QdrantIndex(own_server.url, FINGERPRINT, DIMENSION, deadline=2.0) as index:
        await index.add(kept)
        assert await index.delete(EVERYBODY, "7") == 1
        own_server.kill()
        for call in (
            index.get(EVERYBODY, "1"),
            index.search(HERE, rows[1]),
            index.add([entry("late", rows[200])]),
            index.delete(EVERYBODY, "1"),
            index.delete_where(Selection()),
            index.stats(),
        ):
            with pytest.raises(Unavailable, match="Qdrant"):
                await call
        own_server.start()
        assert await everything(index) == sorted(one.id for one in kept if one.id != "7")
        assert same(await index.get(EVERYBODY, "199"), kept[199])
        assert ids(await index.search(HERE, rows[1])) == ["1"]
        info = await index._client.get_collection(index._collection)
        assert {*info.payload_schema} == {*KEYWORDS, *NUMBERS}
        await index.add([entry("late", rows[200])])
        assert ids(await index.search(HERE, rows[200])) == ["late"]
        assert await index.delete_where(Selection(tags=frozenset({"t"}))) == 199
        assert await everything(index) == ["late"]


async def test_acknowledged_writes_survive_a_kill_during_writes(
    own_server: QdrantServer,
) -> None:
    acknowledged: list[str] = []
    enough = asyncio.Event()

    async def write(index: QdrantIndex, worker: int) -> None:
        for number, row in enumerate(vectors(10_000, worker)):
            await index.add([entry(f"{worker}-{number}", row)])
            acknowledged.append(f"{worker}-{number}")
            if len(acknowledged) >= 100:
                enough.set()

    async with QdrantIndex(own_server.url, FINGERPRINT, DIMENSION, deadline=5.0) as index:
        async with asyncio.TaskGroup() as tasks:
            writers = [tasks.create_task(_until_unavailable(write(index, worker))) for worker in range(4)]
            async with asyncio.timeout(30):
                await enough.wait()
            own_server.kill()
        assert all(writer.result() for writer in writers)
        own_server.start()
        there = set(await everything(index))
        assert there >= set(acknowledged)
        assert len(there) <= len(acknowledged) + len(writers)  # each writer had at most one write in flight


async def _until_unavailable(work: Awaitable[None]) -> bool:
    with pytest.raises(Unavailable):
        await work
    return True


async def test_a_frozen_server_times_out_at_the_deadline_and_is_used_again(
    own_server: QdrantServer,
) -> None:
    vector = vectors(1)[0]
    async with QdrantIndex(own_server.url, FINGERPRINT, DIMENSION, deadline=0.3) as index:
        await index.add([entry("a", vector)])
        own_server.freeze()
        for call in (
            index.lookup("b", HERE, vector),
            index.add([entry("b", vector)]),
            index.delete(EVERYBODY, "a"),
            index.search(HERE, vector),
        ):
            with pytest.raises(DeadlineExceeded):
                await call
        own_server.thaw()
        deadline = time.monotonic() + 10
        while True:  # the server first processes the requests that arrived while it was frozen
            try:
                assert ids(await index.search(HERE, vector, min_similarity=0.9))
                break
            except Unavailable:
                assert time.monotonic() < deadline
        assert (await index.get(EVERYBODY, "a")) is not None
