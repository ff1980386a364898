from __future__ import annotations

import base64
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.support.core.queries import cell_query, search_options
from tests.support.core.vector_search_contract import random_vectors

from vectorcache.errors import InvalidInput
from vectorcache.index.query import CellAnswer, Hits, StoredVector
from vectorcache.wire.internal import NodeSearchRequest, PrefetchRequest, cells_of, node_request
from vectorcache.wire.internal import cell_query as as_cell_query
from vectorcache.wire.public import NodeCountRequest, SearchRequest, VectorsRequest
from vectorcache.wire.types import Message, VectorItem, vector_item, vectors_of

OPTIONS = {"k": 1, "nprobe": 1, "timeout": 1.0}
QUERIES = np.array([[1, 2.5], [-3, 4]], dtype=np.float32)
RAW = QUERIES.astype("<f4").tobytes()


def both(value: object, kind: type[Any]) -> list[Any]:
    """What a value is after a journey as JSON, and after one as msgpack."""
    return [
        msgspec.json.decode(msgspec.json.encode(value), type=kind),
        msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=kind),
    ]


@pytest.mark.parametrize("vectors", [QUERIES.tolist(), [[1, 2.5], [-3, 4]], RAW])
def test_vectors_travel_as_lists_or_bytes(vectors: object) -> None:
    for request in both({"vectors": vectors}, SearchRequest):
        assert vectors_of(request.vectors, 2, most=10).tolist() == QUERIES.tolist()


def test_bytes_in_json_are_base64() -> None:
    text = msgspec.json.encode({"vectors": base64.b64encode(RAW).decode()})
    request = msgspec.json.decode(text, type=SearchRequest)
    assert vectors_of(request.vectors, 2, most=10).tolist() == QUERIES.tolist()


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (b"", r"^vectors: '0 bytes' .*multiple of 8: float32 x 2"),
        (RAW[:-1], r"^vectors: '15 bytes'"),
        (RAW[:-4], r"^vectors: '12 bytes'"),
        (RAW * 3, r"^vectors: '6 queries' .*1 to 5"),
        (np.array([[0, 1], [np.nan, 0]], dtype="<f4").tobytes(), r"^vectors\[1\]\[0\]: nan"),
        ([], r"^vectors: '0 queries'"),
        ([[]], r"^vectors\[0\]: '0 numbers' .*2 numbers"),
        ([[1.0, 2.0], [1.0, 2.0, 3.0]], r"^vectors\[1\]: '3 numbers'"),
        ([[1.0, 2.0]] * 6, r"^vectors: '6 queries'"),
        ([[1.0, float("inf")]], r"^vectors\[0\]\[1\]: inf"),
        ([[1.0, 2.0], [1e40, 0.0]], r"^vectors\[1\]\[0\]: "),
    ],
)
def test_other_vectors_are_named(vectors: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        vectors_of(vectors, 2, most=5)


def test_the_field_has_the_callers_name() -> None:
    with pytest.raises(InvalidInput, match=r"^queries\[0\]: '1 numbers'"):
        vectors_of([[1.0]], 2, most=5, field="queries")


@pytest.mark.parametrize("cells", [[3, 1, 3, 2], np.array([3, 1, 3, 2], dtype="<i4").tobytes()])
def test_cells_are_ascending_and_distinct(cells: Any) -> None:
    first, second, third = cells_of([cells, [], [5, 9]], 3)
    assert first.tolist() == [1, 2, 3]
    assert second.tolist() == []
    assert third.tolist() == [5, 9]
    assert first.dtype == second.dtype == third.dtype == np.int32


@pytest.mark.parametrize(
    ("cells", "queries", "message"),
    [
        ([[1]], 2, "^cells: '1 lists' .*2, one per query"),
        ([], 1, "^cells: '0 lists'"),
        ([[1], b"\0\0\0"], 2, r"^cells\[1\]: '3 bytes' .*multiple of 4"),
    ],
)
def test_other_cells_are_named(cells: Any, queries: int, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        cells_of(cells, queries)


@pytest.mark.parametrize(
    ("kind", "fields", "path"),
    [
        (SearchRequest, {}, "vectors"),
        (SearchRequest, {"vectors": 1}, r"\$.vectors"),
        (SearchRequest, {"vectors": [["1"]]}, r"\$.vectors\[0\]\[0\]"),
        (SearchRequest, {"vectors": [[None]]}, r"\$.vectors\[0\]\[0\]"),
        (SearchRequest, {"vectors": [], "k": 0}, r"\$.k"),
        (SearchRequest, {"vectors": [], "k": 10_001}, r"\$.k"),
        (SearchRequest, {"vectors": [], "k": 1.5}, r"\$.k"),
        (SearchRequest, {"vectors": [], "k": True}, r"\$.k"),
        (SearchRequest, {"vectors": [], "nprobe": 0}, r"\$.nprobe"),
        (SearchRequest, {"vectors": [], "recall": 0}, r"\$.recall"),
        (SearchRequest, {"vectors": [], "recall": 1.1}, r"\$.recall"),
        (SearchRequest, {"vectors": [], "version": 0}, r"\$.version"),
        (SearchRequest, {"vectors": [], "timeout": 0}, r"\$.timeout"),
        (SearchRequest, {"vectors": [], "timeout": 601}, r"\$.timeout"),
        (SearchRequest, {"vectors": [], "top_k": 3}, "top_k"),
        (VectorsRequest, {"ids": []}, r"\$.ids"),
        (VectorsRequest, {"ids": [1.5]}, r"\$.ids\[0\]"),
        (NodeCountRequest, {"count": 0}, r"\$.count"),
        (NodeCountRequest, {"count": 1001}, r"\$.count"),
        (NodeSearchRequest, {"collection": "../x", "version": 1, "options": OPTIONS, "vectors": [], "cells": []},
         r"\$.collection"),
        (NodeSearchRequest, {"collection": "x", "version": 2**31, "options": OPTIONS, "vectors": [], "cells": []},
         r"\$.version"),
        (NodeSearchRequest, {"collection": "x", "version": 1, "options": OPTIONS, "vectors": [], "cells": [[-1]]},
         r"\$.cells\[0\]\[0\]"),
        (NodeSearchRequest, {"collection": "x", "version": 1, "options": OPTIONS, "vectors": [], "cells": [[2**31]]},
         r"\$.cells\[0\]\[0\]"),
        (PrefetchRequest, {"collection": "x", "version": 1, "chunks": ["a"]}, r"\$.chunks\[0\]"),
    ],
)  # fmt: skip
def test_a_bad_field_is_named(kind: type[Message], fields: dict[str, object], path: str) -> None:
    for codec in (msgspec.json, msgspec.msgpack):
        with pytest.raises(msgspec.ValidationError, match=path):
            codec.decode(codec.encode(fields), type=kind)


def test_a_query_comes_to_a_node_as_it_was() -> None:
    cells = [np.array([1, 4], dtype=np.int32), np.array([], dtype=np.int32)]
    query = cell_query(
        "words", 3, np.asfortranarray(QUERIES), cells, 7, payload=True, exact=True, timeout=9999.0
    )
    for request in both(node_request(query), NodeSearchRequest):
        back = as_cell_query(request, most=2)
        assert (back.collection, back.version) == ("words", 3)
        assert (back.options.k, back.options.payload, back.options.exact) == (7, True, True)
        assert back.options.timeout == 600.0
        assert back.vectors.tolist() == QUERIES.tolist()
        assert [found.tolist() for found in back.cells] == [[1, 4], []]


@pytest.mark.parametrize("vectors", [b"", bytes(12), RAW[:-1], [[1.0, 2.0]], [[1.0, 2.0], [3.0]]])
def test_vectors_that_do_not_fit_the_cells_are_refused(vectors: Any) -> None:
    request = NodeSearchRequest(
        collection="words", version=3, vectors=vectors, cells=[[1], [2]], options=search_options(1)
    )
    with pytest.raises(InvalidInput, match="vectors|cells"):
        as_cell_query(request, most=2)


@pytest.mark.parametrize("payload", [None, [{"a": 1}, {"a": None}]])
def test_an_answer_comes_back_as_it_was(payload: list[dict[str, Any]] | None) -> None:
    distances = [0.1, 1 / 3]  # to the last bit
    hits = Hits([2**40, 0], distances, ["x", 5], payload)
    nothing = Hits([], [], [], None)
    answer = CellAnswer([hits, nothing], [3, 8], "gone", 123, 45)
    for back in both(answer, CellAnswer):
        assert back.hits[0].rows == [2**40, 0]
        assert back.hits[0].distances == distances
        assert (back.hits[0].ids, back.hits[0].payload) == (["x", 5], payload)
        assert (back.hits[1].rows, back.hits[1].distances) == ([], [])
        assert (back.failed, back.reason) == ([3, 8], "gone")
        assert (back.scanned, back.load) == (123, 45)


def test_a_vector_travels_with_its_id_and_payload() -> None:
    vector = random_vectors(1, 3)[0]
    for item in both(vector_item(StoredVector("a", vector, {"n": 1})), VectorItem):
        assert (item.id, item.payload) == ("a", {"n": 1})
        assert np.array(item.vector, dtype=np.float32).tolist() == vector.tolist()


def test_clients_ignore_fields_that_they_do_not_know() -> None:
    response = msgspec.json.decode(b'{"hits": [], "scanned": 1, "new": 2}', type=CellAnswer)
    assert response.failed == []
