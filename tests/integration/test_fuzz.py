"""Both HTTP APIs under nonsense: never a 5xx, always what their OpenAPI says, and problems that name the fault."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.support.servers import DIMENSION, MSGPACK, Client, Words, local_cluster, local_node, node_settings

from vectorcache_service import Problem

EXAMPLES = 100
"""Per operation: the whole stays below a minute."""


@dataclass(frozen=True, slots=True)
class Urls:
    node: str
    router: str


@pytest.fixture(scope="module")
def urls(words: Words, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Urls]:
    """A cluster on a thread of its own, because schemathesis is not asynchronous."""
    ready: Future[tuple[Urls, asyncio.Event, asyncio.AbstractEventLoop]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with local_cluster(words, tmp_path_factory.mktemp("fuzz")) as (cluster, client):
            found = Urls(cluster.nodes["node-0"].url, str(client.make_url("")).rstrip("/"))
            ready.set_result((found, stop, asyncio.get_running_loop()))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    found, stop, loop = ready.result(20)
    yield found
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)


OPERATIONS = [
    ("node", "/v1/search", "POST"),
    ("node", "/v1/prefetch", "POST"),
    ("node", "/v1/vectors", "POST"),
    ("node", "/v1/stats", "GET"),
    ("router", "/v1/collections", "GET"),
    ("router", "/v1/collections/{name}", "GET"),
    ("router", "/v1/collections/{name}/search", "POST"),
    ("router", "/v1/collections/{name}/vectors", "POST"),
    ("router", "/v1/ring", "GET"),
    ("router", "/v1/nodes/count", "GET"),
    ("router", "/v1/nodes/count", "POST"),
]


def at_home(case: schemathesis.Case[Any]) -> schemathesis.Case[Any]:
    """Make a well-formed request one of a collection that is there, where the schema cannot say so."""
    if "name" in case.path_parameters:
        case.path_parameters["name"] = "dot"
    body: Any = case.body
    if not isinstance(body, dict):
        return case
    if "collection" in body:
        body |= {"collection": "dot", "version": 1}
    if "version" in body:
        body["version"] = 1
    if "positions" in body:
        body |= {"chunk": 1, "positions": [place % 10 for place in body["positions"]]}
    if "cells" in body:
        body["cells"] = [[3, 1, 59][: len(cells)] for cells in body["cells"]] or [[0]]
    if "vectors" in body:
        body["vectors"] = [[0.5] * DIMENSION for _ in body.get("cells", [0])]
    return case


def with_time(case: schemathesis.Case[Any]) -> schemathesis.Case[Any]:
    """Ask for no answer sooner than a server can give it, which would be a 503 or 504."""
    body: Any = case.body
    for part in (body, body.get("options")) if isinstance(body, dict) else ():
        if (
            isinstance(part, dict)
            and isinstance(part.get("timeout"), int | float)
            and 0 < part["timeout"] < 5
        ):
            part["timeout"] = 5
    return case


@pytest.mark.exhaustive
@pytest.mark.parametrize(("server", "path", "method"), OPERATIONS)
def test_a_server_does_what_its_document_says(urls: Urls, server: str, path: str, method: str) -> None:
    document = schemathesis.openapi.from_url(f"{getattr(urls, server)}/openapi.json")
    operation = document[path][method]
    good = operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE).map(with_time)
    bad = operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE).map(with_time)

    @given(st.one_of(good, good.map(at_home), bad))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: schemathesis.Case[Any]) -> None:
        # JSON Schema does not say all that is required: the dimension, say, or which cells there are.
        response = case.call_and_validate(excluded_checks=[positive_data_acceptance])
        if response.status_code >= 400:
            problem = msgspec.json.decode(response.content, type=Problem)
            assert problem.type.startswith("urn:vectorcache:problem:")

    check()


@pytest.fixture
async def node(words: Words, tmp_path: Path) -> AsyncIterator[Client]:
    async with local_node(node_settings(words, tmp_path)) as (_, client):
        yield client


@pytest.fixture
async def router(words: Words, tmp_path: Path) -> AsyncIterator[Client]:
    async with local_cluster(words, tmp_path) as (_, client):
        yield client


NODE_SEARCH: dict[str, Any] = {
    "collection": "dot",
    "version": 1,
    "options": {"k": 3, "nprobe": 4, "timeout": 30.0},
    "vectors": np.ones((2, DIMENSION), "<f4").tobytes(),
    "cells": [np.array([0, 1], "<i4").tobytes(), [2, 3]],
}
ROUTER_SEARCH: dict[str, Any] = {"vectors": NODE_SEARCH["vectors"], "k": 3}
SEARCHES = {"/v1/search": NODE_SEARCH, "/v1/collections/dot/search": ROUTER_SEARCH}


def floats(*values: float) -> bytes:
    return np.array([values], dtype="<f4").tobytes()


GOOD = [0.5] * (DIMENSION - 1)
BAD_OF_BOTH: list[tuple[dict[str, Any], str]] = [
    ({"vectors": b""}, "vectors"),
    ({"vectors": b"\x00"}, "vectors"),
    ({"vectors": floats(*GOOD)}, "vectors"),
    ({"vectors": floats(*GOOD, float("nan"))}, "vectors[0][15]"),
    ({"vectors": floats(*GOOD, float("inf"))}, "vectors[0][15]"),
    ({"vectors": floats(*GOOD, 3e38)}, "vectors[0][15]"),
    ({"vectors": [[*GOOD, float("nan")]]}, "vectors[0][15]"),
    ({"vectors": [[*GOOD, float("-inf")]]}, "vectors[0][15]"),
    ({"vectors": [[*GOOD, 1e300]]}, "vectors[0][15]"),
    ({"vectors": [[*GOOD, "1"]]}, "vectors[0][15]"),
    ({"vectors": [GOOD]}, "vectors[0]"),
    ({"vectors": [[]]}, "vectors[0]"),
    ({"vectors": []}, "vectors"),
    ({"vectors": "text"}, "vectors"),
    ({"vectors": None}, "vectors"),
    ({"vectors": {"0": 1}}, "vectors"),
    ({"version": 2**63}, "version"),
    ({"version": True}, "version"),
    ({"unknown": 1}, "unknown"),
    ({"": 1}, ""),
]
BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"k": 2**64 - 1}, "k"),
    ({"k": -(2**63)}, "k"),
    ({"k": 1.5}, "k"),
    ({"k": "3"}, "k"),
    ({"k": b"\x03"}, "k"),
    ({"timeout": float("nan")}, "timeout"),
    ({"timeout": float("inf")}, "timeout"),
    ({"timeout": -1.0}, "timeout"),
    ({"payload": "yes"}, "payload"),
]
BAD_OF_NODES: list[tuple[dict[str, Any], str]] = [
    ({"cells": []}, "cells"),
    ({"cells": [b"", b"", b""]}, "cells"),
    ({"cells": [b"\x00", b""]}, "cells[0]"),
    ({"cells": [np.array([-1], "<i4").tobytes(), b""]}, "cells"),
    ({"cells": [np.array([2**31 - 1], "<i4").tobytes(), b""]}, "cells"),
    ({"cells": [[-1], b""]}, "cells[0][0]"),
    ({"cells": [[2**64 - 1], b""]}, "cells[0][0]"),
    ({"cells": [[0.0], b""]}, "cells[0][0]"),
    ({"cells": [[[0]], b""]}, "cells[0][0]"),
    ({"cells": b"\x00" * 4}, "cells"),
    ({"cells": [None, b""]}, "cells[0]"),
    ({"collection": ""}, "collection"),
    ({"collection": "a/../b"}, "collection"),
    ({"collection": b"dot"}, "collection"),
    ({"collection": "x" * 100_000}, "collection"),
]
BAD_OF_ROUTERS: list[tuple[dict[str, Any], str]] = [
    ({"nprobe": 2**64 - 1}, "nprobe"),
    ({"nprobe": 0}, "nprobe"),
    ({"nprobe": "all"}, "nprobe"),
    ({"recall": float("nan")}, "recall"),
    ({"recall": 2}, "recall"),
]


async def refusal(client: Client, path: str, body: bytes) -> Problem:
    response = await client.post(path, data=body, headers=MSGPACK)
    assert 400 <= response.status < 500, await response.text()
    assert response.content_type == "application/problem+json"
    problem = msgspec.json.decode(await response.read(), type=Problem)
    assert problem.status == response.status
    assert problem.detail
    return problem


async def assert_alive(client: Client, path: str) -> None:
    response = await client.post(path, data=msgspec.msgpack.encode(SEARCHES[path]), headers=MSGPACK)
    assert response.status == 200
    answer = msgspec.msgpack.decode(await response.read())
    assert len(answer["hits" if path == "/v1/search" else "results"]) == 2


async def test_a_node_names_what_is_wrong_in_msgpack(node: Client) -> None:
    options = [
        ({"options": NODE_SEARCH["options"] | change}, f"options.{field}") for change, field in BAD_OPTIONS
    ]
    # The number of queries is that of the lists of cells: where vectors are changed there is one.
    vectors = [({"cells": NODE_SEARCH["cells"][:1]} | change, field) for change, field in BAD_OF_BOTH]
    for change, field in vectors + BAD_OF_NODES + options:
        problem = await refusal(node, "/v1/search", msgspec.msgpack.encode(NODE_SEARCH | change))
        # It learns the dimension from the bytes and the number of lists: it cannot say which of the two is wrong.
        fields = {field, field.removesuffix("[0]"), *(["vectors"] if field == "cells" else [])}
        assert (problem.field or "") in fields, change
    await assert_alive(node, "/v1/search")


async def test_a_router_names_what_is_wrong_in_msgpack(router: Client) -> None:
    path = "/v1/collections/dot/search"
    for change, field in BAD_OF_BOTH + BAD_OF_ROUTERS + BAD_OPTIONS:
        problem = await refusal(router, path, msgspec.msgpack.encode(ROUTER_SEARCH | change))
        assert (change, problem.field or "") == (change, field)
    await assert_alive(router, path)


def malformed(message: dict[str, Any]) -> Iterator[bytes]:
    """Bytes that are no message: cut anywhere, too long, of other types, too deep, lying about lengths."""
    whole = msgspec.msgpack.encode(message)
    yield from (whole[:length] for length in {0, 1, 2, 7, len(whole) // 2, len(whole) - 1})
    yield whole + b"\x00"
    yield whole + whole
    yield from (b"\xc0", b"\xc1", b"\x00", b"\xa3abc", b"\x90", b"\xcb\x7f\xf8" + b"\x00" * 6)
    yield b"\x91" * 200_000
    yield b"\x81\xa7vectors" + b"\x91" * 200_000
    yield b"\x81\xa7vectors\xdd\xff\xff\xff\xff"  # an array of four thousand million
    yield b"\x81\xa7vectors\xc6\xff\xff\xff\xff"  # as many bytes
    yield b"\xdf\xff\xff\xff\xff"  # as many fields
    yield b"\x81\xa7vectors\xd4\x05\x00"  # an extension type
    yield b"\x81\xa2\xff\xfe\x00"  # a name that is not UTF-8
    yield b"\x81\x01\x00"  # a name that is a number
    yield b"\x82\xa1k\x03\xa1k\x03"  # a name twice, and the rest missing
    yield msgspec.json.encode({"k": 3})


@pytest.mark.parametrize("path", SEARCHES)
async def test_bytes_that_are_no_message_are_the_callers_fault(
    node: Client, router: Client, path: str
) -> None:
    client = node if path == "/v1/search" else router
    for body in malformed(SEARCHES[path]):
        problem = await refusal(client, path, body)
        assert problem.status == 400
        assert problem.type.endswith(("malformed-body", "invalid-input"))
    await assert_alive(client, path)


@pytest.mark.parametrize("seed", range(3))
async def test_damaged_messages_never_break_a_server(node: Client, router: Client, seed: int) -> None:
    """Messages with a few bytes changed are refused, or are other messages."""
    rng = np.random.default_rng(seed)
    for path, message in SEARCHES.items():
        client = node if path == "/v1/search" else router
        whole = np.frombuffer(msgspec.msgpack.encode(message), dtype=np.uint8)
        for _ in range(100):
            damaged = whole.copy()
            places = rng.integers(0, len(whole), rng.integers(1, 4))
            damaged[places] = rng.integers(0, 256, len(places))
            response = await client.post(path, data=damaged.tobytes(), headers=MSGPACK)
            assert response.status in (200, 400, 404), await response.text()
            await response.read()
        await assert_alive(client, path)
