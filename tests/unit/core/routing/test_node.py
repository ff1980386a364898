from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
from tests.support.collections import NAME, build, clustered, storage
from tests.support.control import ControlledBlobs

from vectorcache.errors import NotFound
from vectorcache.index.query import CellQuery
from vectorcache.index.searcher import CellSearcher
from vectorcache.index.versions import Versions
from vectorcache.routing.node import LocalNode
from vectorcache.stores.memory import MemoryBlobStore

VECTORS = clustered(400)


@pytest.fixture
async def blobs() -> ControlledBlobs:
    store = ControlledBlobs(MemoryBlobStore())
    await build(store, VECTORS)
    return store


@pytest.fixture
async def node(blobs: ControlledBlobs) -> AsyncIterator[LocalNode]:
    node = LocalNode("node-7", Versions(blobs), storage(blobs))
    await node.open()
    yield node
    await node.close()


def query(version: int = 1) -> CellQuery:
    return CellQuery(NAME, version, VECTORS[:2], [np.arange(5, dtype=np.int32)] * 2, 3)


async def test_has_a_name_and_a_cache(node: LocalNode) -> None:
    assert node.name == "node-7"
    assert await node.dimension(NAME, 1) == 8
    await node.prefetch(NAME, 1, [0, 1], timeout=5)
    assert node.chunks.layer_stats()[0].items == 2


async def test_answers_as_a_searcher_does(node: LocalNode, blobs: ControlledBlobs) -> None:
    cache = storage(blobs)
    await cache.open()
    expected = await CellSearcher(Versions(blobs), cache).search(query())
    await cache.close()
    found = await node.search(query())
    assert [hits.ids for hits in found.hits] == [hits.ids for hits in expected.hits]
    (vector,) = await node.fetch(NAME, 1, 0, [0])
    assert vector.vector.tolist() == VECTORS[int(vector.id)].tolist()


async def test_what_is_not_published_is_not_found(node: LocalNode) -> None:
    for call in (
        node.search(query(2)),
        node.prefetch(NAME, 2, [], 1),
        node.fetch(NAME, 2, 0, []),
        node.dimension(NAME, 2),
    ):
        with pytest.raises(NotFound, match="words/v2"):
            await call


async def test_closes_its_cache_once(blobs: ControlledBlobs) -> None:
    node = LocalNode("a", Versions(blobs), storage(blobs))
    await node.open()
    await node.search(query())
    await node.close()
    await node.close()
