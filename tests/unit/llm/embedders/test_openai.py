"""Tests against a real server on loopback with scripted responses."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.support.llm.embedder_contract import EmbedderContract

from vectorcache.errors import CorruptData, DeadlineExceeded, InvalidInput, Unavailable
from vectorcache_llm.embedders import HashingEmbedder, OpenAIEmbedder
from vectorcache_llm.errors import Unsupported

DIMENSION = 64
KEY = "sk-very-secret-key"

Behaviour = Callable[[web.Request, dict[str, object]], Awaitable[web.StreamResponse]]


async def embeddings(request: web.Request, question: dict[str, object]) -> web.StreamResponse:
    texts = question["input"]
    assert isinstance(texts, list)
    vectors = await HashingEmbedder(DIMENSION).embed(texts)
    rows = [{"object": "embedding", "index": n, "embedding": v.tolist()} for n, v in enumerate(vectors)]
    return web.json_response({"object": "list", "data": rows[::-1], "usage": {}})  # any order is allowed


def refuse(status: int, body: str = "no", **headers: str) -> Behaviour:
    async def behave(request: web.Request, question: dict[str, object]) -> web.StreamResponse:
        return web.Response(
            status=status, text=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    return behave


def answer(body: str) -> Behaviour:
    async def behave(request: web.Request, question: dict[str, object]) -> web.StreamResponse:
        return web.Response(text=body, content_type="application/json")

    return behave


async def hang(request: web.Request, question: dict[str, object]) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def break_off(request: web.Request, question: dict[str, object]) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


class Server:
    """Follows ``behaviours`` one after the other, and then answers normally."""

    def __init__(self) -> None:
        self.behaviours: list[Behaviour] = []
        self.questions: list[dict[str, object]] = []
        self.keys: list[str | None] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        question = json.loads(await request.read())
        self.questions.append(question)
        self.keys.append(request.headers.get("Authorization"))
        behave = self.behaviours.pop(0) if self.behaviours else embeddings
        return await behave(request, question)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    application = web.Application()
    application.router.add_post("/v1/embeddings", server.handle)
    async with TestServer(application) as running:
        server.url = str(running.make_url("/v1"))
        yield server


class Sleeps:
    """Records the requested delays without sleeping."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def sleeps() -> Sleeps:
    return Sleeps()


@pytest.fixture
async def embedder(server: Server, sleeps: Sleeps) -> AsyncIterator[OpenAIEmbedder]:
    async with OpenAIEmbedder(
        server.url, "model", DIMENSION, api_key=KEY, sleep=sleeps, rng=random.Random(1)
    ) as embedder:
        yield embedder


class TestContract(EmbedderContract):
    @pytest.fixture
    async def embedder(self, server: Server) -> AsyncIterator[OpenAIEmbedder]:
        async with OpenAIEmbedder(server.url, "model", DIMENSION) as embedder:
            yield embedder

    @pytest.fixture
    def other_settings(self, server: Server) -> OpenAIEmbedder:
        return OpenAIEmbedder(server.url, "other", DIMENSION)

    async def test_a_text_has_the_same_vector_in_batches_of_any_size(self, server: Server) -> None:
        texts = [f"text {number}" for number in range(10)]
        expected = await HashingEmbedder(DIMENSION).embed(texts)
        async with OpenAIEmbedder(server.url, "model", DIMENSION, batch_size=4) as embedder:
            assert abs(await embedder.embed(texts) - expected).max() < 1e-6
        assert [len(question["input"]) for question in server.questions] == [4, 4, 2]


async def test_requests_follow_the_protocol(server: Server, embedder: OpenAIEmbedder) -> None:
    await embedder.embed(["a", "", "b"])
    assert server.questions == [{"model": "model", "input": ["a", "b"], "encoding_format": "float"}]
    assert server.keys == [f"Bearer {KEY}"]


async def test_no_key_is_sent_without_one_and_the_dimension_only_on_request(server: Server) -> None:
    async with OpenAIEmbedder(server.url + "/", "model", DIMENSION, shorten=True) as embedder:
        await embedder.embed(["a"])
    assert server.keys == [None]
    assert server.questions[0]["dimensions"] == DIMENSION


@pytest.mark.parametrize("failure", [refuse(429), refuse(500), refuse(503), break_off])
async def test_temporary_failures_are_retried(
    server: Server, embedder: OpenAIEmbedder, sleeps: Sleeps, failure: Behaviour
) -> None:
    server.behaviours = [failure, failure]
    assert (await embedder.embed(["a"])).any()
    assert len(server.questions) == 3
    assert len(sleeps.seconds) == 2


async def test_attempts_are_limited(server: Server, embedder: OpenAIEmbedder) -> None:
    server.behaviours = [refuse(503, "over capacity")] * 10
    with pytest.raises(Unavailable, match="503: over capacity"):
        await embedder.embed(["a"])
    assert len(server.questions) == 4


async def test_it_waits_as_long_as_the_server_requests(
    server: Server, embedder: OpenAIEmbedder, sleeps: Sleeps
) -> None:
    server.behaviours = [
        refuse(429, Retry_After="3"),
        refuse(503, Retry_After="Fri, 01 Jan 2100 00:00:00 GMT"),
    ]
    await embedder.embed(["a"])
    assert sleeps.seconds[0] == 3
    assert sleeps.seconds[1] < 1


async def test_it_does_not_start_a_wait_that_exceeds_the_deadline(
    server: Server, embedder: OpenAIEmbedder, sleeps: Sleeps
) -> None:
    server.behaviours = [refuse(429, Retry_After="60")]
    with pytest.raises(Unavailable, match="429"):
        await embedder.embed(["a"])
    assert sleeps.seconds == []


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422])
async def test_other_error_responses_are_not_retried(
    server: Server, embedder: OpenAIEmbedder, status: int
) -> None:
    server.behaviours = [refuse(status, "because", Location="/v1/elsewhere")]
    with pytest.raises(Unsupported, match=f"{status}: because"):
        await embedder.embed(["a"])
    assert len(server.questions) == 1


async def test_a_server_that_hangs_times_out_at_the_deadline(server: Server) -> None:
    server.behaviours = [refuse(500), hang]
    async with OpenAIEmbedder(server.url, "model", DIMENSION, timeout=0.3) as embedder:
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"0\.3 s"):
            await embedder.embed(["a"])
        assert 0.25 < time.monotonic() - start < 2
        assert (await embedder.embed(["a"])).any()


async def test_an_unreachable_server_is_unavailable(server: Server, sleeps: Sleeps) -> None:
    async with OpenAIEmbedder("http://127.0.0.1:1/v1", "model", DIMENSION, sleep=sleeps) as embedder:
        with pytest.raises(Unavailable):
            await embedder.embed(["a"])
    assert len(sleeps.seconds) == 3


@pytest.mark.parametrize(
    "body",
    [
        "no JSON",
        "{}",
        '{"data": []}',
        '{"data": [{"index": 1, "embedding": [1]}]}',
        '{"data": [{"index": 0, "embedding": [1]}]}',
        '{"data": [{"index": 0, "embedding": "AAAA"}]}',
        json.dumps(
            {"data": [{"index": 0, "embedding": [0.5] * DIMENSION}] * 2 + [{"index": 1, "embedding": []}]}
        ),
        json.dumps({"padding": "x" * 2_000_000}),
    ],
    ids=["no JSON", "no data", "too few", "wrong index", "dimension", "base64", "too many", "too long"],
)
async def test_a_response_that_does_not_match_the_request_is_corrupt(
    server: Server, embedder: OpenAIEmbedder, body: str
) -> None:
    server.behaviours = [answer(body)]
    with pytest.raises(CorruptData):
        await embedder.embed(["a"])


@pytest.mark.parametrize(
    "failure", [refuse(401, f"wrong key {KEY}"), refuse(500, KEY), break_off, answer("{}")]
)
async def test_the_key_is_in_no_error_log_or_repr(
    server: Server, embedder: OpenAIEmbedder, failure: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.behaviours = [failure] * 10
    with pytest.raises((Unavailable, Unsupported, CorruptData)) as caught:
        await embedder.embed(["a"])
    chain = [caught.value, caught.value.__cause__]
    shown = "".join(traceback.format_exception(caught.value)) + repr(chain) + repr(embedder) + caplog.text
    assert KEY not in shown
    assert KEY not in embedder.fingerprint


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"base_url": "127.0.0.1/v1"}, "base_url"),
        ({"base_url": "ftp://127.0.0.1/v1"}, "base_url"),
        ({"base_url": "http://user:secret@127.0.0.1/v1"}, "base_url"),
        ({"base_url": "http://127.0.0.1/v1?key=secret"}, "base_url"),
        ({"base_url": "http://[secret"}, "base_url"),
        ({"base_url": "http://127.0.0.1:secret/v1"}, "base_url"),
        ({"timeout": "10"}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"dimension": 0}, "dimension"),
        ({"timeout": 0}, "timeout"),
        ({"batch_size": 0}, "batch_size"),
        ({"attempts": 0}, "attempts"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": "secret\n"}, "api_key"),
        ({"api_key": "secrét"}, "api_key"),
    ],
)
def test_settings_are_checked(arguments: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput, match=field) as caught:
        OpenAIEmbedder(**{"base_url": "http://127.0.0.1/v1", "model": "m", "dimension": 2, **arguments})
    assert "secr" not in str(caught.value)


def test_the_fingerprint_names_server_model_and_dimension() -> None:
    made = {
        OpenAIEmbedder(url, model, dimension).fingerprint
        for url in ("http://a/v1", "http://b/v1")
        for model in ("m", "n")
        for dimension in (2, 3)
    }
    assert len(made) == 8
