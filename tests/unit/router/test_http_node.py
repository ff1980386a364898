from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from aiohttp import ClientSession
from tests.support.fake_node import FakeNode, fake_node, refused, told
from tests.support.servers import Words, local_node, node_settings

from vectorcache import wire
from vectorcache.errors import InvalidInput, NotFound, Overloaded, Unavailable
from vectorcache.index.query import CellAnswer, CellQuery
from vectorcache_router import http_node
from vectorcache_router.http_node import HttpNode
from vectorcache_service import request_id


@pytest.fixture
async def fake_and_node() -> AsyncIterator[tuple[FakeNode, HttpNode]]:
    async with fake_node() as (fake, url), ClientSession() as session:
        node = HttpNode("node-0", url, session, requests=2)
        yield fake, node
        await node.close()


@pytest.fixture
def fake(fake_and_node: tuple[FakeNode, HttpNode]) -> FakeNode:
    return fake_and_node[0]


@pytest.fixture
def node(fake_and_node: tuple[FakeNode, HttpNode]) -> HttpNode:
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
    return CellQuery(collection, 1, vectors, cells, k, payload, timeout)


def ids(answer: CellAnswer) -> list[list[int | str]]:
    return [hits.ids for hits in answer.hits]


async def fill(fake: FakeNode, node: HttpNode) -> list[asyncio.Task[CellAnswer]]:
    """Put as many searches under way as may be; the next ones wait."""
    fake.hold()
    before = len(fake.requests)
    tasks = [asyncio.create_task(node.search(query(-1000))) for _ in range(2)]
    await fake.arrivals(before + 2)
    return tasks


async def start(*searches: CellQuery, node: HttpNode) -> list[asyncio.Task[CellAnswer]]:
    """Begin searches that have to wait."""
    tasks = [asyncio.create_task(node.search(search)) for search in searches]
    await asyncio.sleep(0)  # each runs until it waits
    return tasks


async def test_an_idle_node_is_asked_at_once(fake: FakeNode, node: HttpNode) -> None:
    answer = await node.search(query(5, 2, k=2, payload=True))
    assert ids(answer) == [[5, 6], [105, 106]]
    assert [hits.payload for hits in answer.hits] == [[{"n": 0}, {"n": 1}]] * 2
    (request,) = fake.requests
    assert (request.collection, request.version, request.k) == ("c", 1, 2)
    assert request.vectors == np.array([[5, 0], [105, 0]], dtype="<f4").tobytes()
    assert request.cells == [np.array(cells, dtype="<i4").tobytes() for cells in ([0, 1], [1, 2])]


async def test_those_that_wait_travel_together_and_each_gets_its_own(fake: FakeNode, node: HttpNode) -> None:
    first = await fill(fake, node)
    waiting = await start(*(query(n, k=k) for n, k in ((1, 2), (2, 7), (3, 4))), query(4, 2, k=1), node=node)
    assert fake.under_way == 2
    fake.release()
    answers = await asyncio.gather(*waiting)
    await asyncio.gather(*first)
    assert len(fake.requests) == 3
    assert fake.most == 2
    assert fake.requests[2].k == 7
    assert [ids(answer) for answer in answers] == [
        [[1, 2]],
        [[2, 3, 4, 5, 6, 7, 8]],
        [[3, 4, 5, 6]],
        [[4], [104]],
    ]
    assert [len(answer.hits[0].rows) for answer in answers] == [2, 7, 4, 1]
    assert [answer.scanned for answer in answers] == [10, 10, 10, 20]


async def test_what_differs_in_kind_travels_apart(fake: FakeNode, node: HttpNode) -> None:
    first = await fill(fake, node)
    kinds = [query(1), query(2, collection="d"), query(3, payload=True), query(4, payload=True)]
    waiting = await start(*kinds, node=node)
    fake.release()
    answers = await asyncio.gather(*waiting, *first)
    travelled = [(request.collection, request.payload, len(request.cells)) for request in fake.requests[2:]]
    assert sorted(travelled) == [("c", False, 1), ("c", True, 2), ("d", False, 1)]
    assert [ids(answer)[0][0] for answer in answers[:4]] == [1, 2, 3, 4]


async def test_never_more_than_may_be_are_under_way(fake: FakeNode, node: HttpNode) -> None:
    first = await fill(fake, node)
    waiting = await start(*(query(n, collection=f"c{n % 5}") for n in range(60)), node=node)
    fake.release()
    answers = await asyncio.gather(*waiting, *first)
    assert [ids(answer)[0][0] for answer in answers[:60]] == list(range(60))
    assert fake.most == 2
    assert [len(request.cells) for request in fake.requests] == [1, 1, *[12] * 5], "one request a collection"


async def test_a_load_is_cut_at_a_bound(
    fake: FakeNode, node: HttpNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_node, "MAX_TOGETHER", 4)
    first = await fill(fake, node)
    waiting = await start(query(1, 3), query(2, 2), query(3, 9), query(4, 1), node=node)
    fake.release()
    answers = await asyncio.gather(*waiting, *first)
    assert sorted(len(request.cells) for request in fake.requests[2:]) == [1, 2, 3, 9], (
        "one alone may be larger"
    )
    assert [len(answer.hits) for answer in answers[:4]] == [3, 2, 9, 1]


async def test_a_cancelled_waiter_harms_nobody(fake: FakeNode, node: HttpNode) -> None:
    first = await fill(fake, node)
    waiting = await start(*(query(n) for n in range(4)), node=node)
    waiting[0].cancel()
    waiting[2].cancel()
    await asyncio.wait(waiting[:1] + waiting[2:3], timeout=5)
    fake.release()
    assert ids(await waiting[1]) == [[1, 2, 3]]
    assert ids(await waiting[3]) == [[3, 4, 5]]
    await asyncio.gather(*first)
    assert len(fake.requests[2].cells) == 2, "nobody asks for those who left"
    assert waiting[0].cancelled()
    assert waiting[2].cancelled()


async def test_a_waiter_that_leaves_on_the_way_harms_nobody(fake: FakeNode, node: HttpNode) -> None:
    first = await fill(fake, node)
    waiting = await start(query(1), query(2), node=node)
    first[0].cancel()
    await fake.arrivals(3)  # its place was taken by those that waited
    waiting[0].cancel()
    fake.release()
    assert ids(await waiting[1]) == [[2, 3, 4]]
    await asyncio.wait(first, timeout=5)
    assert ids(await node.search(query(9))) == [[9, 10, 11]]


async def test_cancelled_requests_give_their_place_back(fake: FakeNode, node: HttpNode) -> None:
    for _ in range(3):
        first = await fill(fake, node)
        for task in first:
            task.cancel()
        await asyncio.wait(first, timeout=5)
    fake.release()
    assert ids(await node.search(query(1))) == [[1, 2, 3]]


async def test_those_that_travel_together_go_by_the_request_id_of_the_first(
    fake: FakeNode, node: HttpNode
) -> None:
    async def search(identity: str, first: int) -> CellAnswer:
        request_id.begin(identity)
        return await node.search(query(first))

    fake.hold()
    running = [asyncio.create_task(search(f"r{n}", n)) for n in range(2)]
    await fake.arrivals(2)
    waiting = [asyncio.create_task(search(f"r{n}", n)) for n in range(2, 5)]
    await asyncio.sleep(0)
    fake.release()
    await asyncio.gather(*running, *waiting)
    assert fake.ids == ["r0", "r1", "r2"]


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
    node: HttpNode,
    status: int,
    problem: dict[str, object],
    kind: type[Exception],
    message: str,
) -> None:
    async def answer(_request: wire.NodeSearchRequest) -> tuple[int, object]:
        return refused(status, **problem)

    fake.answer = answer
    first = await fill(fake, node)
    waiting = await start(query(1), query(2), node=node)
    fake.release()
    for task in (*first, *waiting):
        with pytest.raises(kind, match=message):
            await task
    assert len(fake.requests) == 3


NONSENSE = {
    "no message": (0, b"\xc1"),
    "truncated": (0, b"\x93\x01"),
    "no reply": (0, b"\x81\xa7results\x80"),
    "empty": (0, b""),
    "another type": (200, {"results": {}}),
    "no problem": (502, "Bad gateway"),
}


@pytest.mark.parametrize("response", NONSENSE.values(), ids=NONSENSE)
async def test_an_answer_that_is_none_is_unavailable(
    fake: FakeNode, node: HttpNode, response: tuple[int, object]
) -> None:
    async def answer(_request: wire.NodeSearchRequest) -> tuple[int, object]:
        return response

    fake.answer = answer
    with pytest.raises(Unavailable, match="node-0"):
        await node.search(query(1))


async def test_an_answer_to_fewer_queries_is_unavailable(fake: FakeNode, node: HttpNode) -> None:
    async def answer(request: wire.NodeSearchRequest) -> tuple[int, object]:
        request.vectors = request.vectors[:8] if isinstance(request.vectors, bytes) else []
        return told(request)

    fake.answer = answer
    first = await fill(fake, node)
    waiting = await start(query(1), query(2), node=node)
    fake.release()
    for task in waiting:
        with pytest.raises(Unavailable, match="each query"):
            await task
    await asyncio.gather(*first)


async def test_nobody_there_is_unavailable(unused_tcp_port: int) -> None:
    async with ClientSession() as session:
        node = HttpNode("node-9", f"http://127.0.0.1:{unused_tcp_port}", session)
        with pytest.raises(Unavailable, match=r"node-9.*ClientConnectorError"):
            await node.search(query(1))
        with pytest.raises(Unavailable, match="node-9"):
            await node.prefetch("c", 1, [0], 1)
        with pytest.raises(Unavailable, match="node-9"):
            await node.fetch("c", 1, 0, [0])


async def test_a_node_that_is_silent_for_too_long_is_unavailable(fake: FakeNode, node: HttpNode) -> None:
    fake.hold()
    with pytest.raises(Unavailable, match="TimeoutError"):
        await node.search(query(1, timeout=0.05))


async def test_closing_lets_travel_what_is_under_way_and_sends_the_others_elsewhere(
    fake: FakeNode, node: HttpNode
) -> None:
    first = await fill(fake, node)
    waiting = await start(query(2), query(3, collection="d"), node=node)
    closing = asyncio.create_task(node.close())
    for task in waiting:
        with pytest.raises(Unavailable, match="closed"):
            await task
    with pytest.raises(Unavailable, match="closed"):
        await node.prefetch("c", 1, [0], 5)
    fake.release()
    await closing
    assert [ids(await task) for task in first] == [[[-1000, -999, -998]]] * 2
    await node.close()


async def test_the_queue_is_bounded(fake: FakeNode, node: HttpNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_node, "MAX_WAITING", 2)
    first = await fill(fake, node)
    waiting = await start(query(1), query(2), node=node)
    with pytest.raises(Overloaded, match="2 searches wait"):
        await node.search(query(3))
    fake.release()
    await asyncio.gather(*first, *waiting)
    assert ids(await node.search(query(4))) == [[4, 5, 6]]


async def test_prefetch_and_fetch_of_a_real_node(
    words: Words, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = node_settings(words, tmp_path_factory.mktemp("data"))
    async with local_node(settings) as (real, client), ClientSession() as session:
        node = HttpNode("node-0", str(client.make_url("/")), session)
        assert (node.name, node.url) == ("node-0", str(client.make_url("")).rstrip("/"))
        assert await node.prefetch("dot", 1, [0, 1], 5) == 2
        found = await node.fetch("dot", 1, 1, [2, 0])
        expected = await real.local.fetch("dot", 1, 1, [2, 0])
        assert [(one.id, one.payload) for one in found] == [(one.id, one.payload) for one in expected]
        np.testing.assert_array_equal([one.vector for one in found], [one.vector for one in expected])
        with pytest.raises(NotFound, match="dot/v9"):
            await node.fetch("dot", 9, 1, [0])
        with pytest.raises(InvalidInput, match="positions"):
            await node.fetch("dot", 1, 1, [10_000])
        with pytest.raises(InvalidInput, match="chunks"):
            await node.prefetch("dot", 1, [10_000], 5)
