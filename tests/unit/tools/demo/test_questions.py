import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from tests.support.client.fake_router import FakeRouter, problem
from tests.support.waiting import until

from vectorcache_client import AsyncClient
from vectorcache_tools.demo.questions import Questions, Score

QUERIES = np.array([[0, 1], [1, 0], [0, -1]], dtype=np.float32)


@pytest.fixture
async def questions(url: str) -> AsyncIterator[Questions]:
    async with AsyncClient(url) as client:
        yield Questions(client, "words", QUERIES)


async def test_one_by_one_asks_each_query_once(questions: Questions, router: FakeRouter) -> None:
    score = await questions.one_by_one()
    assert [score.answers[number][0] for number in range(3)] == ["north", "east", "south"]
    assert (len(score.latencies), score.failed, score.wrong) == (3, 0, 0)
    assert len(router.requests) == 3


async def test_an_error_and_a_partial_answer_are_failures(questions: Questions, router: FakeRouter) -> None:
    router.failures.append(problem(500, "internal"))
    assert (await questions.one_by_one()).failed == 1
    router.searched = 0.5
    assert (await questions.one_by_one()).failed == 3


async def test_callers_ask_until_they_are_stopped_and_compare(
    questions: Questions, router: FakeRouter
) -> None:
    expected = (await questions.one_by_one()).answers
    expected[1] = ("wrong",)
    stop = asyncio.Event()
    asking = asyncio.create_task(questions.at_once(2, stop, expected))
    await until(lambda: len(router.requests) >= 30)
    stop.set()
    score = await asking
    assert score.failed == 0
    assert sorted(score.answers) == [0, 1, 2]
    assert 0 < score.wrong < len(score.latencies)
    assert score.rate == pytest.approx(len(score.latencies) / score.seconds)


def test_recall_counts_queries_without_an_answer_as_found_nothing() -> None:
    truth = [frozenset({"a", "b"}), frozenset({"c", "d"})]
    assert Score(answers={0: ("a", "x")}).recall(truth) == 0.25
    assert Score(answers={0: ("a", "b"), 1: ("d", "c")}).recall(truth) == 1.0


def test_a_score_without_answers_has_no_latency() -> None:
    assert (Score().milliseconds(50), Score().first_ms, Score().rate) == (0.0, 0.0, 0.0)
