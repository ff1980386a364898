from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from aiohttp import ClientSession
from tests.support.core.queries import cell_query
from tests.support.router.fake_node import FakeNode, fake_node, refused, told
from tests.support.servers import Words, local_node, node_settings

from vectorcache.errors import InvalidInput, NotFound, Unavailable
from vectorcache.index.query import CellAnswer, CellQuery
from vectorcache.wire import internal
from vectorcache_router.remote_node import RemoteNode


@pytest.fixture
async def fake_and_node() -> AsyncIterator[tuple[FakeNode, RemoteNode]]:
    async with fake_node() as (fake, url), ClientSession() as session:
        node = RemoteNode("node-0", url, session)
        yield fake, node
        await node.close()


@pytest.fixture
def fake(fake_and_node: tuple[FakeNode, RemoteNode]) -> FakeNode:
    return fake_and_node[0]


@pytest.fixture
def node(fake_and_node: tuple[FakeNode, RemoteNode]) -> RemoteNode:
    return fake_and_node[1]


def query(
    first: int,
    count: int = 1,
    *,
    k: int = 3,
    collection: str = "c",
    payload: bool = False,
    timeout: float = 5,
) -> CellQuery:
    vectors = np.array([[first + 100 * n, 0] for n in range(count)], dtype=np.float32)
    cells = [np.array([n, n + 1], dtype=np.int32) for n in range(count)]
    return cell_query(collection, 1, vectors, cells, k, payload=payload, timeout=timeout)


def ids(answer: CellAnswer) -> list[list[int | str]]:
    return [hits.ids for hits in answer.hits]


async def test_a_search_travels_raw_and_comes_back(fake: FakeNode, node: RemoteNode) -> None:
    answer = await node.search(query(5, 2, k=2, payload=True))
    assert ids(answer) == [[5, 6], [105, 106]]
    assert [hits.payload for hits in answer.hits] == [[{"n": 0}, {"n": 1}]] * 2
    (request,) = fake.requests
    assert (request.collection, request.version, request.options.k) == ("c", 1, 2)
    assert request.vectors == np.array([[5, 0], [105, 0]], dtype="<f4").tobytes()
    assert request.cells == [np.array(cells, dtype="<i4").tobytes() for cells in ([0, 1], [1, 2])]


ERRORS = [
    (400, {"field": "k", "value": "0", "allowed": "1 to 10"}, InvalidInput, r"k: .* allowed: 1 to 10"),
    (413, {"title": "The body is larger than allowed"}, InvalidInput, "larger than allowed"),
    (404, {"detail": "version 'c/v1' does not exist"}, NotFound, r"^version 'c/v1' does not exist$"),
    (429, {}, Unavailable, "429"),
    (500, {}, Unavailable, "500"),
    (503, {}, Unavailable, "503"),
]


@pytest.mark.parametrize(("status", "problem", "kind", "message"), ERRORS)
async def test_a_nodes_refusal_is_the_error_that_it_means(
    fake: FakeNode,
    node: RemoteNode,
    status: int,
    problem: dict[str, object],
    kind: type[Exception],
    message: str,
) -> None:
    async def answer(_request: internal.NodeSearchRequest) -> tuple[int, object]:
        return refused(status, **problem)

    fake.answer = answer
    with pytest.raises(kind, match=message):
        await node.search(query(1))


NONSENSE = {
    "no message": (0, b"\xc1"),
    "truncated": (0, b"\x93\x01"),
    "no reply": (0, b"\x81\xa7results\x80"),
    "empty": (0, b""),
    "another type": (200, {"results": {}}),
    "no problem": (502, "Bad gateway"),
}


@pytest.mark.parametrize("response", NONSENSE.values(), ids=NONSENSE)
async def test_an_invalid_response_is_unavailable(
    fake: FakeNode, node: RemoteNode, response: tuple[int, object]
) -> None:
    async def answer(_request: internal.NodeSearchRequest) -> tuple[int, object]:
        return response

    fake.answer = answer
    with pytest.raises(Unavailable, match="node-0"):
        await node.search(query(1))


async def test_an_answer_to_fewer_queries_is_unavailable(fake: FakeNode, node: RemoteNode) -> None:
    async def answer(request: internal.NodeSearchRequest) -> tuple[int, object]:
        request.vectors = request.vectors[:8] if isinstance(request.vectors, bytes) else []
        return told(request)

    fake.answer = answer
    with pytest.raises(Unavailable, match="all queries"):
        await node.search(query(1, 2))


async def test_a_missing_node_is_unavailable(unused_tcp_port: int) -> None:
    async with ClientSession() as session:
        node = RemoteNode("node-9", f"http://127.0.0.1:{unused_tcp_port}", session)
        with pytest.raises(Unavailable, match=r"node-9.*ClientConnectorError"):
            await node.search(query(1))
        with pytest.raises(Unavailable, match="node-9"):
            await node.prefetch("c", 1, [0], 1)
        with pytest.raises(Unavailable, match="node-9"):
            await node.fetch("c", 1, 0, [0])


async def test_a_node_that_is_silent_for_too_long_is_unavailable(fake: FakeNode, node: RemoteNode) -> None:
    fake.hold()
    with pytest.raises(Unavailable, match="TimeoutError"):
        await node.search(query(1, timeout=0.05))


async def test_closing_waits_for_running_calls(fake: FakeNode, node: RemoteNode) -> None:
    fake.hold()
    running = asyncio.create_task(node.search(query(1)))
    await fake.arrivals(1)
    closing = asyncio.create_task(node.close())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="closed"):
        await node.prefetch("c", 1, [0], 5)
    fake.release()
    await closing
    assert ids(await running) == [[1, 2, 3]]
    await node.close()


async def test_prefetch_and_fetch_of_a_real_node(
    words: Words, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = node_settings(words, tmp_path_factory.mktemp("data"))
    async with local_node(settings) as (real, client), ClientSession() as session:
        node = RemoteNode("node-0", str(client.make_url("/")), session)
        assert (node.name, node.url) == ("node-0", str(client.make_url("")).rstrip("/"))
        assert await node.prefetch("dot", 1, [0, 1], 5) == 2
        found = await node.fetch("dot", 1, 1, [2, 0])
        expected = await real.fetch("dot", 1, 1, [2, 0])
        assert [(one.id, one.payload) for one in found] == [(one.id, one.payload) for one in expected]
        np.testing.assert_array_equal([one.vector for one in found], [one.vector for one in expected])
        with pytest.raises(NotFound, match="dot/v9"):
            await node.fetch("dot", 9, 1, [0])
        with pytest.raises(InvalidInput, match="positions"):
            await node.fetch("dot", 1, 1, [10_000])
        with pytest.raises(InvalidInput, match="chunks"):
            await node.prefetch("dot", 1, [10_000], 5)
