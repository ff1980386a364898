from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from tests.support.llm.embedder_contract import EmbedderContract

from vectorcache.errors import CorruptData, DeadlineExceeded, InvalidInput, NotFound, Unavailable
from vectorcache_llm.embedders import FunctionEmbedder, HashingEmbedder

DIMENSION = 64


def vectors(texts: list[str]) -> list[list[float]]:
    """Returns lists that are not of length 1."""
    rows = asyncio.run(HashingEmbedder(DIMENSION).embed(texts))
    return (rows * 7).tolist()


async def asynchronous(texts: list[str]) -> np.ndarray:
    return await HashingEmbedder(DIMENSION).embed(texts)


class TestContract(EmbedderContract):
    @pytest.fixture(params=[vectors, asynchronous])
    def embedder(self, request: pytest.FixtureRequest) -> FunctionEmbedder:
        return FunctionEmbedder(request.param, DIMENSION, "v1")

    @pytest.fixture
    def other_settings(self) -> FunctionEmbedder:
        return FunctionEmbedder(vectors, DIMENSION, "v2")


@pytest.mark.parametrize(
    "arguments",
    [
        {"dimension": 0},
        {"fingerprint": ""},
        {"fingerprint": "a\n"},
        {"fingerprint": "x" * 201},
        {"timeout": 0},
    ],
)
def test_settings_are_checked(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(arguments))):
        FunctionEmbedder(**{"function": vectors, "dimension": 2, "fingerprint": "v1", **arguments})


async def test_a_synchronous_function_does_not_block_the_event_loop() -> None:
    threads = []

    def note(texts: list[str]) -> list[list[float]]:
        threads.append(threading.current_thread())
        return [[1.0, 0.0]] * len(texts)

    await FunctionEmbedder(note, 2, "v1").embed(["a"])
    assert threads[0] is not threading.main_thread()


@pytest.mark.parametrize(("texts", "beside"), [(1, False), (100, True)])
async def test_many_numbers_are_normalised_in_a_thread(texts: int, beside: bool) -> None:
    threads = []

    class Vectors:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            threads.append(threading.current_thread())
            return np.ones((texts, 1000))

    async def function(asked: list[str]) -> Vectors:
        return Vectors()

    vectors = await FunctionEmbedder(function, 1000, "v1").embed(["a"] * texts)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert [one is not threading.main_thread() for one in threads] == [beside]


async def test_a_returned_awaitable_is_awaited() -> None:
    embedder = FunctionEmbedder(lambda texts: asynchronous(texts), DIMENSION, "v1")
    assert (await embedder.embed(["a"])).shape == (1, DIMENSION)


async def test_blank_texts_are_not_passed_to_the_function() -> None:
    asked = []

    async def note(texts: list[str]) -> list[list[float]]:
        asked.append(texts)
        return [[1.0, 0.0]] * len(texts)

    embedder = FunctionEmbedder(note, 2, "v1")
    assert (await embedder.embed(["", "a", " "])).tolist() == [[0, 0], [1, 0], [0, 0]]
    assert (await embedder.embed([""])).tolist() == [[0, 0]]
    assert asked == [["a"]]


@pytest.mark.parametrize(
    "answer",
    [
        [[1.0, 2.0]],
        [[1.0], [2.0]],
        [[1.0, 2.0], [3.0]],
        [1.0, 2.0],
        None,
        [["a", "b"], ["c", "d"]],
        [[1.0, float("nan")], [1.0, 2.0]],
        [[1.0, float("inf")], [1.0, 2.0]],
        [[1.0, 1e300], [1.0, 2.0]],
        [[1.0, 10**400], [1.0, 2.0]],
    ],
)
async def test_a_result_of_the_wrong_shape_is_corrupt(answer: object) -> None:
    async def function(texts: list[str]) -> object:
        return answer

    with pytest.raises(CorruptData):
        await FunctionEmbedder(function, 2, "v1").embed(["a", "b"])


async def test_rows_close_to_zero_become_zeros_and_large_ones_are_normalised() -> None:
    async def function(texts: list[str]) -> list[list[float]]:
        return [[0.0, 0.0], [3e38, 0.0], [1e-30, 0.0]]

    embedder = FunctionEmbedder(function, 2, "v1")
    assert (await embedder.embed(["a", "b", "c"])).tolist() == [[0, 0], [1, 0], [0, 0]]


async def test_a_function_that_raises_is_unavailable_and_library_errors_pass() -> None:
    async def broken(texts: list[str]) -> object:
        raise KeyError("model")

    async def missing(texts: list[str]) -> object:
        raise NotFound("model", "x")

    with pytest.raises(Unavailable, match="KeyError") as caught:
        await FunctionEmbedder(broken, 2, "v1").embed(["a"])
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(NotFound):
        await FunctionEmbedder(missing, 2, "v1").embed(["a"])


async def test_a_function_that_takes_too_long_times_out() -> None:
    async def slow(texts: list[str]) -> object:
        await asyncio.Event().wait()

    with pytest.raises(DeadlineExceeded):
        await FunctionEmbedder(slow, 2, "v1", timeout=0.01).embed(["a"])
    release = threading.Event()
    with pytest.raises(DeadlineExceeded):
        await FunctionEmbedder(lambda texts: release.wait(), 2, "v1", timeout=0.01).embed(["a"])
    release.set()
