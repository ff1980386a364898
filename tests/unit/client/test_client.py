import asyncio
import random
from collections.abc import AsyncIterator

import numpy as np
import pytest
from aiohttp import web
from tests.support.client.fake_router import FakeRouter, problem

from vectorcache.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Overloaded,
    Unavailable,
    VectorCacheError,
)
from vectorcache.stores.retrying import RetryPolicy
from vectorcache.wire import public
from vectorcache_client import AsyncClient

QUICK = RetryPolicy(attempts=3, first_wait=1e-6, max_wait=1e-6)


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(url, retry=QUICK, rng=random.Random(0)) as opened:
        yield opened


async def test_one_vector_gives_one_result(client: AsyncClient) -> None:
    found = await client.search("words", [0.1, 0.9], k=2)
    assert [[hit.id for hit in result.hits] for result in found.results] == [["north", "east"]]
    assert found.results[0].hits[0].distance == pytest.approx(np.hypot(0.1, 0.1), rel=1e-6)
    assert (found.collection, found.version, found.partial) == ("words", 7, False)


async def test_a_batch_gives_a_result_for_each_vector(client: AsyncClient) -> None:
    queries = np.array([[0, 1], [-1, 0], [0, -1]], dtype=np.float64)
    found = await client.search("words", queries, k=1)
    assert [result.hits[0].id for result in found.results] == ["north", "west", "south"]


async def test_vectors_travel_as_raw_float32_and_settings_as_they_are(
    client: AsyncClient, router: FakeRouter
) -> None:
    await client.search(
        "words", [1, 2], k=np.int64(3), nprobe=4, version=7, payload=True, exact=True, timeout=2.0
    )  # type: ignore[arg-type]
    await client.search("words", [1, 2], recall=0.9)
    first, second = router.requests
    assert first == public.SearchRequest(
        vectors=np.array([1, 2], "<f4").tobytes(),
        k=3,
        nprobe=4,
        version=7,
        payload=True,
        exact=True,
        timeout=1.8,
    )
    assert (second.k, second.nprobe, second.recall, second.timeout) == (None, None, 0.9, None)


async def test_payload_comes_with_the_hits(client: AsyncClient) -> None:
    found = await client.search("words", [0, 1], k=1, payload=True)
    assert found.results[0].hits[0].payload == {"place": 0}


async def test_a_partial_answer_says_so(client: AsyncClient, router: FakeRouter) -> None:
    router.searched = 0.5
    found = await client.search("words", [0, 1])
    assert (found.partial, found.searched) == (True, 0.5)


@pytest.mark.parametrize(
    "vectors", [[], [[]], [[1.0], [1.0, 2.0]], "north", [float("nan"), 1.0], [[[1.0, 2.0]]], None]
)
async def test_invalid_vectors_are_refused_before_they_are_sent(
    client: AsyncClient, router: FakeRouter, vectors: object
) -> None:
    with pytest.raises(InvalidInput, match="vectors"):
        await client.search("words", vectors)  # type: ignore[arg-type]
    assert router.calls == 0


async def test_a_dimension_that_divides_into_other_vectors_is_refused(client: AsyncClient) -> None:
    with pytest.raises(InvalidInput, match=r"dimension 4.*dimension 2"):
        await client.search("words", [1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize("name", ["", "../x", "a b", "ü", "a/b"])
async def test_a_name_that_no_collection_has_is_refused_before_it_travels(
    client: AsyncClient, router: FakeRouter, name: str
) -> None:
    for call in (client.search(name, [1.0, 2.0]), client.vectors(name, [1]), client.collection(name)):
        with pytest.raises(InvalidInput, match="collection"):
            await call
    assert router.calls == 0


async def test_vectors_by_id(client: AsyncClient) -> None:
    found = await client.vectors("words", ["east", "up", "north"])
    assert [(item.id, item.vector) for item in found.vectors] == [("east", [1, 0]), ("north", [0, 1])]
    assert found.missing == ["up"]


async def test_ring_and_collections_of_a_router(client: AsyncClient, router: FakeRouter) -> None:
    assert await client.collections() == [router.info]
    assert await client.collection("words") == router.info
    assert [node.name for node in (await client.ring()).nodes] == ["node-0"]
    assert await client.node_count() == public.NodeCount(desired=3, ready=3)
    assert await client.set_node_count(4) == public.NodeCount(desired=4, ready=3)


async def test_ready_is_the_readiness_of_the_server(client: AsyncClient, router: FakeRouter) -> None:
    assert await client.ready()
    router.ready = False
    calls = router.calls
    assert not await client.ready()
    assert router.calls == calls + 1


async def test_a_server_that_is_not_there_is_not_ready() -> None:
    async with AsyncClient(f"http://127.0.0.1:{await unused_port()}") as client:
        assert not await client.ready()


@pytest.mark.parametrize("status", [429, 502, 503])
async def test_transient_failures_are_retried(client: AsyncClient, router: FakeRouter, status: int) -> None:
    router.failures.extend([web.Response(status=status), web.Response(status=status)])
    assert (await client.node_count()).ready == 3
    assert router.calls == 3


async def test_tries_are_bounded(client: AsyncClient, router: FakeRouter) -> None:
    router.failures.extend(problem(503, "overloaded", detail="full") for _ in range(5))
    with pytest.raises(Overloaded, match="full"):
        await client.node_count()
    assert router.calls == QUICK.attempts


async def test_one_attempt_means_no_second_try(url: str, router: FakeRouter) -> None:
    router.failures.append(web.Response(status=503))
    async with AsyncClient(url, retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(Unavailable):
            await client.ring()
    assert router.calls == 1


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (problem(400, "invalid-input", field="k", value="0", allowed="1 to 100"), InvalidInput),
        (problem(404, "not-found", detail="collection 'x' does not exist"), NotFound),
        (problem(409, "conflict"), Conflict),
        (problem(500, "internal"), VectorCacheError),
        (problem(504, "deadline-exceeded"), DeadlineExceeded),
    ],
)
async def test_permanent_failures_are_raised_without_retries(
    client: AsyncClient, router: FakeRouter, failure: web.Response, kind: type[Exception]
) -> None:
    router.failures.append(failure)
    with pytest.raises(kind) as caught:
        await client.search("words", [0.0, 1.0])
    assert type(caught.value) is kind
    assert router.calls == 1


async def test_no_connection_is_unavailable_after_all_tries() -> None:
    async with AsyncClient(f"http://127.0.0.1:{await unused_port()}", retry=QUICK) as client:
        with pytest.raises(Unavailable, match=r"GET http://127\.0\.0\.1"):
            await client.ring()


async def test_the_deadline_holds_for_the_call_with_all_its_tries(url: str, router: FakeRouter) -> None:
    router.hold = asyncio.Event()
    async with AsyncClient(url, timeout=0.05) as client:
        with pytest.raises(DeadlineExceeded, match=r"0\.05 s"):
            await client.ring()
        with pytest.raises(DeadlineExceeded, match=r"0\.01 s"):
            await client.search("words", [0, 1], timeout=0.01)
        router.hold.set()


async def test_a_deadline_cuts_the_wait_between_tries_short(url: str, router: FakeRouter) -> None:
    router.failures.append(web.Response(status=503))
    patient = RetryPolicy(attempts=2, first_wait=1e6, max_wait=1e6)
    async with AsyncClient(url, timeout=0.05, retry=patient) as client:
        with pytest.raises(DeadlineExceeded):
            await client.ring()


@pytest.mark.parametrize(
    "arguments", [{"url": "router:8100"}, {"timeout": 0}, {"timeout": float("nan")}, {"connections": 0}]
)
def test_arguments_that_are_not_allowed(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(arguments))):
        AsyncClient(**{"url": "http://router", **arguments})  # type: ignore[arg-type]


async def test_a_closed_client_says_so(url: str) -> None:
    client = AsyncClient(url, retry=QUICK)
    await client.ring()
    await client.close()
    await client.close()
    with pytest.raises(Unavailable, match="closed"):
        await client.ring()


async def unused_port() -> int:
    """A port that was free a moment ago."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    return port
