"""The contract on the client's local mode, which understands the same filters; and a server that does not answer."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, models
from tests.support.llm_clock import FakeClock
from tests.support.llm_index_contract import (
    DIMENSION,
    FINGERPRINT,
    HERE,
    IndexContract,
    Make,
    entry,
    vectors,
)

from vectorcache.errors import CorruptData, DeadlineExceeded, InvalidInput, Unavailable
from vectorcache_llm.scope import EVERYBODY
from vectorcache_llm.similarity.qdrant import QdrantIndex
from vectorcache_llm.similarity.qdrant.index import SWEEP_SECONDS
from vectorcache_llm.similarity.qdrant.points import KEYWORDS, NUMBERS

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode is not recommended"),
]


class TestQdrant(IndexContract):
    keeps = True
    many = 400

    @pytest.fixture
    async def client(self) -> Any:
        client = AsyncQdrantClient(location=":memory:")
        yield client
        await client.close()

    @pytest.fixture
    def make(self, clock: FakeClock, client: AsyncQdrantClient) -> Make:
        def make(**changes: object) -> QdrantIndex:
            settings = {"fingerprint": FINGERPRINT, "dimension": DIMENSION, "clock": clock, "deadline": 30.0}
            return QdrantIndex(client, **{**settings, **changes})  # type: ignore[arg-type]

        return make

    async def test_what_has_ended_is_swept_now_and_then(
        self, make: Make, client: AsyncQdrantClient, clock: FakeClock
    ) -> None:
        async with make() as index:
            await index.add([entry("a", vectors(1)[0], expires_at=clock() + 1), entry("b", vectors(1)[0])])
            [collection] = (await client.get_collections()).collections
            clock.advance(SWEEP_SECONDS - 1)
            await index.add([entry("c", vectors(1)[0])])
            assert (await client.count(collection.name)).count == 3
            clock.advance(1)
            await index.add([entry("d", vectors(1)[0])])
            assert (await client.count(collection.name)).count == 3

    async def test_payload_indexes_that_could_not_be_made_are_made_by_the_next_opening(
        self, make: Make, client: AsyncQdrantClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[str] = []

        async def create(collection: str, field: str, **how: object) -> None:
            if not made:
                made.append("")
                raise OSError("away")
            made.append(field)

        monkeypatch.setattr(client, "create_payload_index", create)
        index = make()
        with pytest.raises(Unavailable, match="away"):
            await index.open()
        await index.open()
        assert {*KEYWORDS, *NUMBERS} == {*made[1:]}

    async def test_a_foreign_point_is_corrupt(self, make: Make, client: AsyncQdrantClient) -> None:
        async with make() as index:
            await index.add([entry("a", vectors(1)[0])])
            [collection] = (await client.get_collections()).collections
            [point], _ = await client.scroll(collection.name)
            strange = models.PointStruct(id=point.id, vector=[0.0] * DIMENSION, payload={"ends_at": 1e300})
            await client.upsert(collection.name, [strange])
            with pytest.raises(CorruptData, match="no entry"):
                await index.get(EVERYBODY, "a")


async def test_a_server_that_is_away_is_unavailable() -> None:
    async with asyncio.timeout(10):
        index = QdrantIndex("http://127.0.0.1:1", FINGERPRINT, DIMENSION)
        for call in (index.open(), index.get(EVERYBODY, "a"), index.add([entry("a", vectors(1)[0])])):
            with pytest.raises(Unavailable, match="Qdrant"):
                await call
        await index.close()
        await index.close()


async def test_a_server_that_never_answers_is_given_up_at_the_deadline() -> None:
    done = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        index = QdrantIndex(f"http://127.0.0.1:{port}", FINGERPRINT, DIMENSION, deadline=0.1)
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await index.search(HERE, vectors(1)[0])
        assert time.monotonic() - started < 5
        await index.close()
        done.set()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"collection": "a/b"}, "collection"),
        ({"collection": ""}, "collection"),
        ({"deadline": 0}, "deadline"),
    ],
)
def test_bad_settings_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{named}"):
        QdrantIndex("http://127.0.0.1:1", FINGERPRINT, DIMENSION, **changes)


def test_zeros_have_no_partition() -> None:
    from vectorcache_llm.similarity.qdrant.points import as_point

    assert "partition" in as_point(models, entry("a", vectors(1)[0])).payload
    assert "partition" not in as_point(models, entry("a", np.zeros(DIMENSION, dtype=np.float32))).payload
