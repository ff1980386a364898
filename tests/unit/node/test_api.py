from __future__ import annotations

import base64
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.support.core.brute_force import assert_nearest
from tests.support.servers import METRICS, MSGPACK, Client, Words, row_of

from vectorcache.wire import internal
from vectorcache_service import Problem

CELLS = list(range(60))
K = 5


OPTIONS = {"k": K, "nprobe": 60, "timeout": 30}


def search_of(words: Words, count: int = 2, **more: Any) -> dict[str, Any]:
    """A search of all cells, as JSON has it."""
    queries = words.queries(count).tolist()
    return {
        "collection": "euclidean",
        "version": 1,
        "options": OPTIONS,
        "vectors": queries,
        "cells": [CELLS] * count,
    } | more


async def ask(client: Client, path: str, message: object) -> Any:
    response = await client.post(path, json=message)
    assert response.status == 200, await response.text()
    return await response.json()


async def refusal(client: Client, path: str, message: object, status: int = 400) -> Problem:
    response = await client.post(path, json=message)
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    problem = msgspec.json.decode(await response.read(), type=Problem)
    assert problem.status == status
    return problem


@pytest.mark.parametrize("metric", METRICS)
async def test_a_search_of_all_cells_is_exact(client: Client, words: Words, metric: str) -> None:
    answer = await ask(client, "/v1/search", search_of(words, 3, collection=metric))
    assert "failed" not in answer
    for result, query in zip(answer["hits"], words.queries(3), strict=True):
        assert [row_of(one) for one in result["ids"]] == result["rows"]
        assert_nearest(result["rows"], result["distances"], words.vectors, query, metric, K)
    manifest = words.manifests[metric]
    assert answer["scanned"] == 3 * manifest.rows


def raw(words: Words, count: int) -> tuple[bytes, list[bytes]]:
    return words.queries(count).astype("<f4").tobytes(), [np.array(CELLS, dtype="<i4").tobytes()] * count


async def test_numbers_base64_and_raw_bytes_are_the_same_search(client: Client, words: Words) -> None:
    vectors, cells = raw(words, 2)
    numbers = await ask(client, "/v1/search", search_of(words))
    encoded = [base64.b64encode(one).decode() for one in cells]
    text = search_of(words, vectors=base64.b64encode(vectors).decode(), cells=encoded)
    assert await ask(client, "/v1/search", text) == numbers
    for message in (search_of(words), search_of(words, vectors=vectors, cells=cells)):
        body = msgspec.msgpack.encode(message)
        response = await client.post("/v1/search", data=body, headers=MSGPACK)
        assert response.content_type == "application/msgpack"
        assert msgspec.msgpack.decode(await response.read()) == numbers


async def test_every_query_has_its_own_cells_and_payload_comes_on_request(
    client: Client, words: Words
) -> None:
    cells = [[3], [], [59, 3, 3]]
    answer = await ask(
        client,
        "/v1/search",
        search_of(words, 3, cells=cells, options=OPTIONS | {"k": 10_000, "payload": True}),
    )
    first, nothing, both = answer["hits"]
    assert nothing == {"rows": [], "distances": [], "ids": [], "payload": []}
    assert {*first["rows"]} < {*both["rows"]}
    assert first["payload"] == [{"row": row} for row in first["rows"]]
    assert first["distances"] == sorted(first["distances"])


async def test_prefetch_brings_chunks_and_a_search_then_hits_memory(client: Client, words: Words) -> None:
    chunks = list(range(len(words.manifests["dot"].chunks)))
    request = {"collection": "dot", "version": 1, "chunks": chunks}
    assert await ask(client, "/v1/prefetch", request) == {"loaded": len(chunks)}
    await ask(client, "/v1/search", search_of(words, collection="dot"))
    layers = {layer["name"]: layer for layer in (await (await client.get("/v1/stats")).json())["layers"]}
    assert list(layers) == ["memory", "disk", "blob"]
    assert layers["blob"]["hits"] == layers["memory"]["hits"] == layers["memory"]["items"] == len(chunks)
    assert layers["disk"]["capacity_bytes"] == 10 << 30
    assert 0 < layers["memory"]["bytes"] <= layers["memory"]["capacity_bytes"] == 64 << 20


async def test_vectors_by_their_place(client: Client, words: Words) -> None:
    rows = words.manifests["cosine"].chunks[2].rows
    request = {"collection": "cosine", "version": 1, "chunk": 2, "positions": [rows - 1, 0, 0]}
    found = (await ask(client, "/v1/vectors", request))["vectors"]
    assert found[1] == found[2] != found[0]
    for one in found:
        row = row_of(one["id"])
        assert one["payload"] == {"row": row}
        np.testing.assert_array_equal(np.array(one["vector"], dtype=np.float32), words.vectors[row])


async def test_statistics_count_requests_queries_and_rows(client: Client, words: Words) -> None:
    await ask(client, "/v1/search", search_of(words, 2))
    await ask(client, "/v1/search", search_of(words, 3))
    stats = msgspec.json.decode(await (await client.get("/v1/stats")).read(), type=internal.NodeStats)
    assert stats.name == "node-0"
    assert stats.uptime_seconds >= 0
    assert (stats.searches, stats.queries) == (2, 5)
    assert stats.scanned == 5 * words.manifests["euclidean"].rows


NOWHERE = [
    ("/v1/search", {"options": OPTIONS, "vectors": [[0.0] * 16], "cells": [[0]]}),
    ("/v1/prefetch", {"chunks": [0]}),
    ("/v1/vectors", {"chunk": 0, "positions": [0]}),
]


@pytest.mark.parametrize(("collection", "version"), [("nowhere", 1), ("dot", 7)])
@pytest.mark.parametrize(("path", "rest"), NOWHERE)
async def test_unpublished_versions_are_not_found(
    client: Client, path: str, rest: dict[str, Any], collection: str, version: int
) -> None:
    problem = await refusal(client, path, {"collection": collection, "version": version} | rest, 404)
    assert problem.type == "urn:vectorcache:problem:not-found"
    assert f"{collection}/v{version}" in (problem.detail or "")


NAN = base64.b64encode(np.full(16, np.nan, dtype="<f4").tobytes()).decode()
HUGE = [[1e17] + [0.0] * 15]
BAD_SEARCHES: list[tuple[dict[str, Any], str, str]] = [
    ({"options": OPTIONS | {"k": 0}}, "options.k", "`int` >= 1"),
    ({"options": OPTIONS | {"k": 10_001}}, "options.k", "`int` <= 10000"),
    ({"options": OPTIONS | {"k": "5"}}, "options.k", "`int`"),
    ({"collection": "../etc"}, "collection", "`str` matching"),
    ({"version": 0}, "version", "`int` >= 1"),
    ({"options": OPTIONS | {"timeout": 0}}, "options.timeout", "`float` > 0"),
    ({"options": OPTIONS | {"timeout": 601}}, "options.timeout", "`float` <= 600"),
    ({"vectors": []}, "vectors", "1 to 100 queries"),
    ({"vectors": ""}, "vectors", "2 vectors of float32"),
    ({"vectors": "AAAA"}, "vectors", "2 vectors of float32"),
    ({"vectors": [[1.0] * 16, [1.0] * 15]}, "vectors[1]", "16 numbers"),
    ({"vectors": [[1.0] * 15] * 2}, "vectors", "2 vectors of dimension 16"),
    ({"vectors": [[1.0] * 16] * 101, "cells": [[]] * 101}, "vectors", "1 to 100 queries"),
    ({"vectors": NAN, "cells": [[0]]}, "vectors[0][0]", "finite numbers"),
    ({"vectors": HUGE, "cells": [[0]]}, "vectors[0][0]", "finite numbers"),
    ({"cells": [CELLS]}, "cells", "2, one per query"),
    ({"cells": [CELLS, [60]]}, "cells", "cells from 0 to 59"),
    ({"cells": [CELLS, [-1]]}, "cells[1][0]", "`int` >= 0"),
    ({"cells": [CELLS, [2**31]]}, "cells[1][0]", "`int` <= 2147483647"),
    ({"cells": [CELLS, "AAA="]}, "cells[1]", "multiple of 4"),
    ({"cells": [CELLS, base64.b64encode(b"\xff" * 4).decode()]}, "cells", "cells from 0 to 59"),
]


@pytest.mark.parametrize(("change", "field", "allowed"), BAD_SEARCHES)
async def test_an_invalid_search_is_refused_with_field_value_and_allowed_values(
    client: Client, words: Words, change: dict[str, Any], field: str, allowed: str
) -> None:
    problem = await refusal(client, "/v1/search", search_of(words) | change)
    assert problem.type == "urn:vectorcache:problem:invalid-input"
    assert problem.field == field
    assert allowed in (problem.allowed or "")


@pytest.mark.parametrize("field", ["collection", "version", "options", "vectors", "cells"])
async def test_a_missing_field_is_named(client: Client, words: Words, field: str) -> None:
    message = search_of(words)
    del message[field]
    assert (await refusal(client, "/v1/search", message)).field == field


async def test_an_unknown_field_is_a_mistake(client: Client, words: Words) -> None:
    assert (await refusal(client, "/v1/search", search_of(words, nprobe=3))).field == "nprobe"


@pytest.mark.parametrize(
    ("path", "change", "field"),
    [
        ("/v1/prefetch", {"chunks": [0, 60]}, "chunks"),
        ("/v1/prefetch", {"chunks": [-1]}, "chunks[0]"),
        ("/v1/prefetch", {"chunks": [0] * 100_001}, "chunks"),
        ("/v1/prefetch", {"chunks": [0], "timeout": -1}, "timeout"),
        ("/v1/vectors", {"chunk": 60, "positions": [0]}, "chunk"),
        ("/v1/vectors", {"chunk": 2**63, "positions": [0]}, "chunk"),
        ("/v1/vectors", {"chunk": 0, "positions": [100_000]}, "positions"),
        ("/v1/vectors", {"chunk": 0, "positions": [0] * 10_001}, "positions"),
    ],
)
async def test_out_of_range_values_are_refused(
    client: Client, path: str, change: dict[str, Any], field: str
) -> None:
    body = msgspec.msgpack.encode({"collection": "dot", "version": 1} | change)
    response = await client.post(path, data=body, headers=MSGPACK)
    assert response.status == 400
    problem = msgspec.json.decode(await response.read(), type=Problem)
    assert problem.field == field
    assert problem.allowed


async def test_a_body_beyond_the_limit_is_refused(client: Client) -> None:
    response = await client.post(
        "/v1/search", data=b" " * (100 * 1024 + 1), headers={"Content-Type": "application/json"}
    )
    assert response.status == 413
    assert (await response.json())["type"] == "urn:vectorcache:problem:body-too-large"
