"""Chains of thought."""

from __future__ import annotations

import msgspec

from vectorcache.errors import InvalidInput, NotFound


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of a chain.

    Attributes:
        number: its position, from 1.
        thought: the thought.
        rationale: the reason for it.
        confidence: the model's confidence, 0 to 1.

    Raises:
        InvalidInput: a field is invalid.
    """

    number: int
    thought: str
    rationale: str = ""
    confidence: float = 1.0

    def __post_init__(self) -> None:
        if self.number < 1:
            raise InvalidInput("number", self.number, "1 or more")
        if not 0 <= self.confidence <= 1:
            raise InvalidInput("confidence", self.confidence, "a number between 0 and 1")


class ChainOfThought(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="chain"
):
    """A problem, the steps towards its answer, and the answer.

    Attributes:
        problem: not empty.
        steps: the steps in order, numbered from 1 without a gap; may be empty.
        answer: the answer; empty if there is none yet.

    Raises:
        InvalidInput: the problem is empty, or the numbers of the steps are not consecutive.
    """

    problem: str
    steps: tuple[Step, ...] = ()
    answer: str = ""

    def __post_init__(self) -> None:
        if not self.problem.strip():
            raise InvalidInput("problem", self.problem, "a text that is not empty")
        for number, step in enumerate(self.steps, 1):
            if step.number != number:
                raise InvalidInput(
                    f"steps[{number - 1}].number",
                    step.number,
                    f"{number}: steps are numbered consecutively from 1",
                )

    @property
    def average_confidence(self) -> float:
        """The mean of the steps' confidences; 0 without steps."""
        return sum(step.confidence for step in self.steps) / len(self.steps) if self.steps else 0.0

    def step(self, number: int) -> Step:
        """Return one step.

        Raises:
            NotFound: the chain has no such step.
        """
        if not 1 <= number <= len(self.steps):
            raise NotFound("step", str(number))
        return self.steps[number - 1]

    def with_step(self, step: Step) -> ChainOfThought:
        """Return the chain with a step replaced or appended, by its number.

        Raises:
            InvalidInput: the number would leave a gap.
        """
        before = self.steps[: step.number - 1]
        return msgspec.structs.replace(self, steps=(*before, step, *self.steps[step.number :]))
