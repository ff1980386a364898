from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs
from tests.support.service.app import Client

from vectorcache.errors import InvalidInput
from vectorcache_service import Limits, Route, make_app, request_id, stream
from vectorcache_service.app import STREAM_PATH
from vectorcache_service.stream import STREAM


class Echo(msgspec.Struct, forbid_unknown_fields=True):
    text: str


class Api:
    """``/v1/echo`` answers, waits first for ``free`` where the text says so."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.entered = asyncio.Semaphore(0)
        self.cancelled = 0

    async def echo(self, request: Echo) -> Echo:
        if request.text == "wait":
            self.entered.release()
            try:
                await self.free.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                self.entered.release()
                raise
        if request.text == "bad":
            raise InvalidInput("text", "bad", "good")
        if request.text == "bug":
            raise RuntimeError("secret")
        return Echo(request.text + " " + str(request_id.current()))


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def client(api: Api) -> AsyncIterator[Client]:
    route = Route(
        method="POST", path="/v1/echo", handler=api.echo, summary="Echo", request=Echo, response=Echo
    )
    app = make_app("echo", "1", [route], limits=Limits(body_bytes=1000, in_flight=2), streaming=True)
    async with TestClient(TestServer(app)) as client:
        yield client
        api.free.set()


@pytest.fixture
async def socket(client: Client) -> AsyncIterator[ClientWebSocketResponse]:
    async with client.ws_connect(STREAM_PATH) as socket:
        yield socket


async def call(
    socket: ClientWebSocketResponse,
    number: int,
    text: object,
    path: str = "/v1/echo",
    identity: str | None = "r",
) -> None:
    await socket.send_bytes(msgspec.msgpack.encode([number, path, identity, {"text": text}]))


async def reply(socket: ClientWebSocketResponse) -> list[Any]:
    message: list[Any] = msgspec.msgpack.decode(await socket.receive_bytes(timeout=5))
    return message


async def test_a_call_is_answered_with_its_number_and_goes_by_its_request_id(
    socket: ClientWebSocketResponse,
) -> None:
    await call(socket, 7, "hello", identity="abc")
    assert await reply(socket) == [7, 200, {"text": "hello abc"}]
    await call(socket, 8, "hello", identity=None)
    assert (await reply(socket))[2]["text"] not in ("hello abc", "hello None")


async def test_many_calls_are_in_flight_and_each_is_answered_when_it_completes(
    socket: ClientWebSocketResponse, api: Api
) -> None:
    await call(socket, 1, "wait")
    await api.entered.acquire()
    await call(socket, 2, "quick")
    assert (await reply(socket))[:2] == [2, 200]
    api.free.set()
    assert (await reply(socket))[:2] == [1, 200]


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("bad", 400, {"field": "text", "value": "'bad'", "allowed": "good"}),
        (3, 400, {"field": "text", "value": "`int`", "allowed": "`str`"}),
        ("bug", 500, {"type": "urn:vectorcache:problem:internal"}),
    ],
)
async def test_errors_are_problems(
    socket: ClientWebSocketResponse, text: object, status: int, said: dict[str, str]
) -> None:
    await call(socket, 1, text)
    number, told, problem = await reply(socket)
    assert (number, told, problem["status"], problem["request_id"]) == (1, status, status, "r")
    assert {name: problem[name] for name in said} == said
    assert "secret" not in str(problem)
    await call(socket, 2, "still here")
    assert (await reply(socket))[:2] == [2, 200]


async def test_a_call_of_an_unknown_route_is_a_problem(socket: ClientWebSocketResponse) -> None:
    await call(socket, 1, "x", path="/v1/nothing")
    assert (await reply(socket))[:2] == [1, 503]


async def test_one_call_too_many_is_refused(
    socket: ClientWebSocketResponse, api: Api, client: Client
) -> None:
    for number in range(2):
        await call(socket, number, "wait")
        await api.entered.acquire()
    await call(socket, 3, "x")
    number, status, problem = await reply(socket)
    assert (number, status, problem["type"]) == (3, 503, "urn:vectorcache:problem:overloaded")
    async with client.post("/v1/echo", json={"text": "x"}) as response:
        assert response.status == 503, "requests and calls share the limit"


@pytest.mark.parametrize(
    "message", [b"", b"\xc1", b"\x93\x01\x02\x03", msgspec.msgpack.encode({"number": 1})]
)
async def test_a_malformed_call_closes_the_connection(
    socket: ClientWebSocketResponse, message: bytes
) -> None:
    await socket.send_bytes(message)
    assert (await socket.receive(timeout=5)).type is WSMsgType.CLOSE
    assert socket.close_code == 1007


async def test_a_message_that_is_too_large_ends_the_connection(socket: ClientWebSocketResponse) -> None:
    await call(socket, 1, "x" * 2000)
    assert (await socket.receive(timeout=5)).type is WSMsgType.CLOSE
    assert socket.close_code == 1009


async def test_text_ends_the_connection(socket: ClientWebSocketResponse) -> None:
    await socket.send_str("hello")
    assert (await socket.receive(timeout=5)).type is WSMsgType.CLOSE


async def test_a_request_that_is_no_websocket_is_the_callers_fault(client: Client) -> None:
    async with client.get(STREAM_PATH) as response:
        assert response.status == 400
        assert response.content_type == "application/problem+json"


async def test_calls_of_a_caller_that_left_are_cancelled(
    socket: ClientWebSocketResponse, api: Api, client: Client
) -> None:
    await call(socket, 1, "wait")
    await api.entered.acquire()
    await socket.close()
    await asyncio.wait_for(api.entered.acquire(), 5)
    assert api.cancelled == 1
    await until_metric(
        client, 'vectorcache_http_requests_total{method="STREAM",route="/v1/echo",status="499"} 1.0'
    )


async def test_calls_are_counted_and_logged_as_requests_are(
    socket: ClientWebSocketResponse, client: Client
) -> None:
    with capture_logs() as logs:
        for number, text in enumerate(("one", "two", "bad")):
            await call(socket, number, text)
            await reply(socket)
    for status, times in (("200", 2), ("400", 1)):
        name = f'vectorcache_http_requests_total{{method="STREAM",route="/v1/echo",status="{status}"}}'
        await until_metric(client, f"{name} {times:.1f}")
    assert [line["status"] for line in logs if line["event"] == "request"][-1] == 400


async def test_draining_lets_calls_finish_and_closes_the_connection(
    socket: ClientWebSocketResponse, api: Api, client: Client
) -> None:
    await call(socket, 1, "wait")
    await api.entered.acquire()
    app = client.app
    assert app is not None
    draining = asyncio.create_task(app[STREAM].drain(5))
    await asyncio.sleep(0)
    await call(socket, 2, "late")
    assert (await reply(socket))[:2] == [2, 503]
    api.free.set()
    assert (await reply(socket))[:2] == [1, 200]
    assert (await socket.receive(timeout=5)).type is WSMsgType.CLOSE
    assert socket.close_code == 1001
    await draining


async def test_a_caller_that_is_silent_for_too_long_is_taken_for_gone(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SILENCE", 0.02)
    async with client.ws_connect(STREAM_PATH) as socket:
        assert (await socket.receive(timeout=5)).type is WSMsgType.CLOSE


async def test_a_caller_that_pings_stays(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SILENCE", 0.3)
    async with client.ws_connect(STREAM_PATH, autoping=False) as socket:
        for _ in range(30):  # together far longer than the silence that is too long
            await asyncio.sleep(0.02)
            await socket.ping(b"x")
            message = await socket.receive(timeout=5)
            assert (message.type, message.data) == (WSMsgType.PONG, b"x")


async def until_metric(client: Client, line: str) -> None:
    async with asyncio.timeout(5):
        while line not in await (await client.get("/metrics")).text():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
