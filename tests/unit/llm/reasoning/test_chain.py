import msgspec
import pytest

from vectorcache.errors import InvalidInput, NotFound
from vectorcache_llm.reasoning import ChainOfThought, Step

FIRST = Step(number=1, thought="17 is prime", rationale="nothing divides it", confidence=0.9)
SECOND = Step(number=2, thought="so is 19", confidence=0.5)
CHAIN = ChainOfThought(problem="Are 17 and 19 twins?", steps=(FIRST, SECOND), answer="yes")


def test_average_confidence() -> None:
    assert CHAIN.average_confidence == pytest.approx(0.7)
    assert ChainOfThought(problem="?").average_confidence == 0


def test_a_single_step() -> None:
    assert CHAIN.step(2) is SECOND
    for number in (0, 3, -1):
        with pytest.raises(NotFound, match=f"step '{number}'"):
            CHAIN.step(number)


def test_a_step_is_replaced_or_added_at_the_end() -> None:
    surer = msgspec.structs.replace(FIRST, confidence=1.0)
    assert CHAIN.with_step(surer).steps == (surer, SECOND)
    third = Step(number=3, thought="their difference is 2")
    assert CHAIN.with_step(third).steps == (FIRST, SECOND, third)


def test_a_gap_is_rejected() -> None:
    with pytest.raises(InvalidInput, match=r"steps\[2\]\.number: 4"):
        CHAIN.with_step(Step(number=4, thought="?"))


@pytest.mark.parametrize("numbers", [(2,), (1, 1), (2, 1), (1, 3)])
def test_numbers_are_consecutive_from_one(numbers: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="numbered consecutively"):
        ChainOfThought(problem="?", steps=tuple(Step(number=number, thought="") for number in numbers))


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_confidence_is_between_0_and_1(confidence: float) -> None:
    with pytest.raises(InvalidInput, match="confidence"):
        Step(number=1, thought="", confidence=confidence)


@pytest.mark.parametrize("problem", ["", " \n"])
def test_a_problem_is_required(problem: str) -> None:
    with pytest.raises(InvalidInput, match="problem"):
        ChainOfThought(problem=problem)
