"""The contract in the client's local mode, which is fast, and tests that need no server.

The same contract on Qdrant's engine, over HTTP, is in ``tests/integration/llm/test_qdrant_index.py``.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, models
from tests.support.llm.clock import FakeClock
from tests.support.llm.index_contract import (
    DIMENSION,
    FINGERPRINT,
    IndexContract,
    Make,
    entry,
    vectors,
)

from vectorcache.errors import CorruptData, InvalidInput, Unavailable
from vectorcache_llm.scope import EVERYBODY
from vectorcache_llm.similarity.qdrant import QdrantIndex
from vectorcache_llm.similarity.qdrant.points import KEYWORDS, NUMBERS

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
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

    async def test_missing_payload_indexes_are_created_by_the_next_open(
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
            with pytest.raises(CorruptData, match="not a valid entry"):
                await index.get(EVERYBODY, "a")


async def test_an_unreachable_server_is_unavailable() -> None:
    async with asyncio.timeout(10):
        index = QdrantIndex("http://127.0.0.1:1", FINGERPRINT, DIMENSION)
        for call in (index.open(), index.get(EVERYBODY, "a"), index.add([entry("a", vectors(1)[0])])):
            with pytest.raises(Unavailable, match="Qdrant"):
                await call
        await index.close()
        await index.close()


async def test_the_client_does_not_time_out_before_the_deadline() -> None:
    """The client's default timeout is 5 seconds."""
    cases: list[tuple[float, dict[str, Any], int]] = [(30.0, {}, 31), (0.2, {}, 2), (30.0, {"timeout": 3}, 3)]
    for deadline, options, expected in cases:
        index = QdrantIndex("http://127.0.0.1:1", FINGERPRINT, DIMENSION, deadline=deadline, **options)
        assert index._client.init_options["timeout"] == expected
        await index.close()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"collection": "a/b"}, "collection"),
        ({"collection": ""}, "collection"),
        ({"deadline": 0}, "deadline"),
        ({"expansion": 0}, "expansion"),
    ],
)
def test_bad_settings_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{named}"):
        QdrantIndex("http://127.0.0.1:1", FINGERPRINT, DIMENSION, **changes)


def test_zeros_have_no_partition() -> None:
    from vectorcache_llm.similarity.qdrant.points import as_point

    assert "partition" in as_point(models, entry("a", vectors(1)[0])).payload
    assert "partition" not in as_point(models, entry("a", np.zeros(DIMENSION, dtype=np.float32))).payload


def test_large_batches_of_points_are_split_into_requests() -> None:
    from vectorcache_llm.similarity.qdrant.points import REQUEST_BYTES, as_point, in_requests

    large = REQUEST_BYTES // 4  # a third of a request in base64
    sizes = [0, large, large, large, 4 * large, 0, 0]
    entries = [entry(f"{n}", vectors(1)[0], payload=bytes(size)) for n, size in enumerate(sizes)]
    points = [as_point(models, one) for one in entries]
    parts = list(in_requests(points))
    assert [len(part) for part in parts] == [3, 1, 1, 2]
    assert [point for part in parts for point in part] == points
    assert list(in_requests([])) == []
