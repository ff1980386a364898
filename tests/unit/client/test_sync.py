import asyncio
import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.support.client.fake_router import FakeRouter

from vectorcache.errors import DeadlineExceeded, InvalidInput, Unavailable
from vectorcache_client import AsyncClient, Client

METHODS = ["search", "vectors", "collections", "collection", "ring", "node_count", "set_node_count", "ready"]


@pytest.fixture
def client(thread_url: str) -> Iterator[Client]:
    with Client(thread_url) as opened:
        yield opened


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_arguments_of_the_async_one(name: str) -> None:
    ours, theirs = (inspect.signature(vars(kind)[name]) for kind in (Client, AsyncClient))
    assert ours.parameters == theirs.parameters
    assert ours.return_annotation == theirs.return_annotation


def test_it_answers_as_the_async_one(client: Client, router: FakeRouter) -> None:
    found = client.search("words", np.array([[0, 1], [1, 0]]), k=1, payload=True)
    assert [result.hits[0].id for result in found.results] == ["north", "east"]
    assert client.vectors("words", ["west"]).vectors[0].vector == [-1, 0]
    assert client.collections() == [client.collection("words")] == [router.info]
    assert client.ring().virtual_nodes == 10
    assert client.set_node_count(5).desired == client.node_count().desired == 5
    assert client.ready()


def test_it_raises_as_the_async_one(client: Client) -> None:
    with pytest.raises(InvalidInput, match="vectors"):
        client.search("words", [])


def test_threads_share_one(client: Client) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: client.search("words", [0, -1], k=1), range(64)))
    assert {result.results[0].hits[0].id for result in found} == {"south"}


def test_close_ends_its_thread_and_later_calls_say_so(thread_url: str) -> None:
    before = threading.active_count()
    client = Client(thread_url)
    client.ring()
    client.close()
    client.close()
    assert threading.active_count() == before
    with pytest.raises(Unavailable, match="closed"):
        client.ring()


def test_close_ends_calls_in_flight(thread_url: str, router: FakeRouter) -> None:
    router.hold = asyncio.Event()
    client = Client(thread_url)
    with ThreadPoolExecutor(1) as thread:
        call = thread.submit(client.ring)
        deadline = threading.Event()
        while not router.calls and not deadline.wait(0.01):
            pass
        client.close()
        with pytest.raises(Unavailable, match="closed"):
            call.result(10)


def test_a_call_has_its_deadline(thread_url: str, router: FakeRouter) -> None:
    router.hold = asyncio.Event()
    with Client(thread_url, timeout=0.05) as client, pytest.raises(DeadlineExceeded):
        client.ring()
