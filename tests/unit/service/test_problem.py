from __future__ import annotations

import msgspec
import pytest
from tests.support.service.app import Client

from vectorcache.errors import Conflict, CorruptData, InvalidInput, NotFound, Overloaded, VectorCacheError
from vectorcache_service.problem import Problem, problem_of


class Query(msgspec.Struct):
    k: int


class Body(msgspec.Struct, forbid_unknown_fields=True):
    queries: list[Query]


class Late(Conflict):
    """A kind of error that is not in the table itself."""


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (InvalidInput("k", 0, "1 to 100"), 400, "invalid-input"),
        (NotFound("collection", "glove"), 404, "not-found"),
        (Late("again"), 409, "conflict"),
        (Overloaded("full"), 503, "overloaded"),
        (TimeoutError(), 504, "deadline-exceeded"),
        (CorruptData("torn"), 500, "corrupt-data"),
        (VectorCacheError("credentials"), 500, "internal"),
        (KeyError("bug"), 500, "internal"),
    ],
)
def test_each_error_has_its_status_and_type(error: Exception, status: int, slug: str) -> None:
    told = problem_of(error, "id-1")
    assert (told.status, told.type) == (status, f"urn:vectorcache:problem:{slug}")
    assert told.request_id == "id-1"
    assert told.title


def test_invalid_input_says_field_value_and_what_is_allowed() -> None:
    told = problem_of(InvalidInput("queries[0].k", "x" * 500, "1 to 100"))
    assert (told.field, told.allowed) == ("queries[0].k", "1 to 100")
    assert told.value is not None
    assert len(told.value) < 100


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"queries": [{"k": "x"}]}', "queries[0].k"),
        (b'{"queries": [{}]}', "queries[0].k"),
        (b"{}", "queries"),
        (b'{"queries": [], "q": 1}', "q"),
        (b"[]", None),
    ],
)
def test_a_validation_error_names_the_field(body: bytes, field: str | None) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(body, type=Body)
    told = problem_of(caught.value)
    assert (told.status, told.field) == (400, field)


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [
        ("invalid", 400, "invalid-input"),
        ("missing", 404, "not-found"),
        ("conflict", 409, "conflict"),
        ("gone", 410, "http-410"),
        ("corrupt", 500, "corrupt-data"),
        ("bug", 500, "internal"),
        ("unavailable", 503, "unavailable"),
        ("late", 504, "deadline-exceeded"),
        ("timeout", 504, "deadline-exceeded"),
    ],
)
async def test_errors_of_handlers_become_problems_that_leak_nothing(
    client: Client, path: str, status: int, slug: str
) -> None:
    response = await client.post(f"/v1/fail/{path}", headers={"X-Request-ID": "abc"})
    text = await response.text()
    told = msgspec.json.decode(text, type=Problem)
    assert response.status == told.status == status
    assert response.content_type == "application/problem+json"
    assert told.type == f"urn:vectorcache:problem:{slug}"
    assert told.request_id == response.headers["X-Request-ID"] == "abc"
    assert "secret" not in text
    assert ("Retry-After" in response.headers) == (status == 503)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/v1/block", 405)]
)
async def test_the_frameworks_own_errors_are_problems_too(
    client: Client, method: str, path: str, status: int
) -> None:
    response = await client.request(method, path)
    told = msgspec.json.decode(await response.read(), type=Problem)
    assert response.status == told.status == status
    assert response.headers.get("Allow") == ("GET" if status == 405 else None)
