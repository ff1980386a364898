import msgspec
import pytest

from vectorcache.errors import (
    Conflict,
    CorruptData,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Overloaded,
    Unavailable,
    VectorCacheError,
)
from vectorcache_client.problems import error_of
from vectorcache_service.problem import problem_of

WHAT = "GET http://router/v1/ring"


def sent(error: Exception) -> VectorCacheError:
    """What a client raises after a server raised ``error``."""
    problem = problem_of(error, "request-1")
    return error_of(problem.status, msgspec.json.encode(problem), WHAT)


@pytest.mark.parametrize(
    "error",
    [
        Conflict("version 7 is there already"),
        CorruptData("a path"),
        Overloaded("the limit of 32 concurrent requests is reached"),
        Unavailable("a host"),
        DeadlineExceeded("a host"),
    ],
)
def test_an_error_of_the_server_is_the_same_one_at_the_client(error: VectorCacheError) -> None:
    assert type(sent(error)) is type(error)
    assert WHAT in str(sent(error))


def test_the_detail_of_a_problem_is_in_the_error() -> None:
    assert "version 7 is there already" in str(sent(Conflict("version 7 is there already")))


@pytest.mark.parametrize("value", [0, "x'y", [1.5, None]])
def test_invalid_input_arrives_with_field_value_and_allowed_values(value: object) -> None:
    original = InvalidInput("queries[0].k", value, "1 to 100")
    error = sent(original)
    assert isinstance(error, InvalidInput)
    assert (error.field, error.value, error.allowed) == ("queries[0].k", repr(value), "1 to 100")
    assert str(error) == str(original)


def test_a_body_of_the_wrong_type_is_invalid_input_that_names_the_field() -> None:
    class Body(msgspec.Struct):
        k: int

    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(b'{"k": "ten"}', type=Body)
    error = sent(caught.value)
    assert isinstance(error, InvalidInput)
    assert error.field == "k"
    assert "`int`" in error.allowed


def test_not_found_arrives_with_kind_and_name() -> None:
    error = sent(NotFound("collection", "it's"))
    assert isinstance(error, NotFound)
    assert (error.kind, error.name) == ("collection", "it's")


def test_a_failure_of_the_server_names_the_request() -> None:
    error = sent(RuntimeError("secret"))
    assert type(error) is VectorCacheError
    assert "request-1" in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, Overloaded),
        (502, Unavailable),
        (503, Unavailable),
        (504, DeadlineExceeded),
        (301, VectorCacheError),
        (418, VectorCacheError),
        (500, VectorCacheError),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"type": 3}', b"\xff"])
def test_an_answer_that_is_no_problem_document_is_judged_by_its_status(
    status: int, kind: type[Exception], body: bytes
) -> None:
    error = error_of(status, body, WHAT)
    assert type(error) is kind
    assert str(status) in str(error)
