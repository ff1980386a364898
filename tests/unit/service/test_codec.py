from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from tests.support.service.app import Api, Client, Found, Search

from vectorcache_service import Limits, Problem
from vectorcache_service.codec import JSON, MEDIA_TYPES, MSGPACK, preferred

SEARCH = "/v1/collections/glove/search"
ENCODE: dict[str, Callable[[Any], bytes]] = {JSON: msgspec.json.encode, MSGPACK: msgspec.msgpack.encode}
DECODE: dict[str, Callable[..., Any]] = {JSON: msgspec.json.decode, MSGPACK: msgspec.msgpack.decode}


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/json", JSON),
        ("application/msgpack", MSGPACK),
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/html", JSON),
        ("application/json;q=0.5, application/msgpack", MSGPACK),
        ("application/msgpack;q=0.2, */*;q=0.1", MSGPACK),
        ("Application/MsgPack; charset=x", MSGPACK),
        ("application/msgpack;q=x", JSON),
        ("", JSON),
    ],
)
def test_accept_chooses_the_media_type(accept: str, media_type: str) -> None:
    assert preferred(accept) == media_type


@given(st.text(alphabet="application/jsonmgck*;,q=. 0159", max_size=60))
def test_any_accept_header_is_answered(accept: str) -> None:
    assert preferred(accept) in MEDIA_TYPES


@pytest.mark.parametrize("sent", MEDIA_TYPES)
@pytest.mark.parametrize("wanted", MEDIA_TYPES)
async def test_a_body_travels_in_both_formats(client: Client, sent: str, wanted: str) -> None:
    response = await client.post(
        SEARCH,
        data=ENCODE[sent](Search([1.0, 2.5], k=3, raw=b"\x00\xff")),
        headers={"Content-Type": f"{sent}; charset=utf-8", "Accept": wanted, "X-Request-ID": "r-1"},
    )
    assert response.status == 200
    assert response.content_type == wanted
    assert DECODE[wanted](await response.read(), type=Found) == Found("glove", 3.5, 3, b"\x00\xff", "r-1")


async def test_without_a_content_type_a_body_is_json(client: Client) -> None:
    response = await client.post(SEARCH, data=b'{"vector": [1]}', skip_auto_headers=["Content-Type"])
    assert response.status == 200
    assert (await response.json())["k"] == 10


JSON_BODIES = [
    b"",
    b"nul",
    b"[]",
    b"\xff\xfe",
    b'{"vector": [1]} x',
    b'{"vector": [NaN]}',
    b'{"vector": [1e999]}',
    b'{"vector": []}',
    b'{"vector": [1], "k": 0}',
    b'{"vector": [1], "k": ' + b"9" * 400 + b"}",
    b'{"vector": [1], "k": 1.5}',
    b'{"vector": [1], "raw": "!"}',
    b'{"vector": [1], "more": 1}',
    b'{"vector": [1], "\xff": 1}',
    b'{"vector": ' + b"[" * 9000,
    b'{"a": ' * 1500,
]
MSGPACK_BODIES = [
    b"",
    b"\xc1",
    b"\xdf\xff\xff\xff\xff",
    b"\x81\xa6vector\xdd\xff\xff\xff\xff",
    b"\x81\xa6vector\xa1x",
    b"\x81\xa1\xff\x01",
    b"\x81\x91\x01\x01",
    b"\x82\xa6vector\x91\x01\xa1k\xcf" + b"\xff" * 8,
    b"\x82\xa6vector\x91\x01\xa1k\xd4\x05\x00",
    b"\x91" * 9000,
    b"\x82\xa6vector\x91\x01\xa1k\x05\x00",
]


@pytest.mark.parametrize(
    ("media_type", "body"),
    [(JSON, body) for body in JSON_BODIES] + [(MSGPACK, body) for body in MSGPACK_BODIES],
)
async def test_bad_bodies_are_the_callers_fault(client: Client, media_type: str, body: bytes) -> None:
    response = await client.post(SEARCH, data=body, headers={"Content-Type": media_type})
    told = msgspec.json.decode(await response.read(), type=Problem)
    assert response.status == told.status == 400
    assert told.detail


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("Content-Type", "text/plain", "application/json or application/msgpack"),
        ("Content-Type", "text/csv", "application/json or application/msgpack"),
        ("Content-Encoding", "gzip", "uncompressed bodies only"),
        ("Content-Encoding", "br", "uncompressed bodies only"),
    ],
)
async def test_other_types_and_compressed_bodies_are_refused(
    client: Client, field: str, value: str, allowed: str
) -> None:
    headers = {"Content-Type": JSON, field: value}
    response = await client.post(SEARCH, data=gzip.compress(b'{"vector": [1]}'), headers=headers)
    told = msgspec.json.decode(await response.read(), type=Problem)
    assert response.status == told.status == 415
    assert told.type == "urn:vectorcache:problem:unsupported-media-type"
    assert (told.field, told.value, told.allowed) == (field, repr(value), allowed)


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 1000


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_beyond_the_limit_is_refused(client: Client, chunked: bool) -> None:
    data = chunks(11) if chunked else b" " * 10_001
    response = await client.post(SEARCH, data=data, headers={"Content-Type": JSON})
    assert response.status == 413
    assert (await response.json())["type"] == "urn:vectorcache:problem:body-too-large"


async def raw_exchange(client: Client, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(request)
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head


async def test_a_body_that_never_comes_is_given_up() -> None:
    async with TestClient(TestServer(Api().app(Limits(body_seconds=0.01)))) as client:
        request = f"POST {SEARCH} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n".encode()
        assert b" 408 " in await raw_exchange(client, request)


async def test_broken_chunks_are_the_callers_fault(client: Client) -> None:
    request = f"POST {SEARCH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".encode()
    assert b" 400 " in await raw_exchange(client, request)


@pytest.mark.parametrize("target", [b"/\xff", b"/%ff", b"/v1/collections/%00/search", b"//", b"*"])
async def test_odd_paths_are_the_callers_fault(client: Client, target: bytes) -> None:
    head = await raw_exchange(
        client, b"POST " + target + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    )
    assert head.split()[1] in (b"400", b"404")
