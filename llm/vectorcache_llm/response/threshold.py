"""The similarity at which two questions may share a reply: given, or measured on labelled pairs.

Precision is the share of correct pairs among those that would be served: similar enough and accepted by the guard.
Its confidence interval is Clopper and Pearson's ("The use of confidence or fiducial limits illustrated in the case of
the binomial", 1934), whose coverage is never below the confidence level. Wilson's interval is closer to that level on
average, but falls below it for shares close to 1.

Thresholds are tested from the strictest down, in steps of 0.01, and the first that fails ends the search. Which pairs
a threshold serves does not depend on their labels. This is therefore fixed sequence testing, and the promise holds
with the requested confidence although many thresholds are tested (A. Angelopoulos et al., "Learn then Test", 2021). A
threshold that serves too few pairs to pass, even if all of them were correct, is skipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from vectorcache.errors import CorruptData, InvalidInput
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.response.guard import Guard
from vectorcache_llm.response.pairs import LabelledPair

STEPS = 100
"""Number of steps of the cosine between 0 and 1."""


class Fixed(msgspec.Struct, frozen=True):
    """A threshold given by the user.

    Attributes:
        min_similarity: minimum cosine, 0 to 1, at which a similar question's reply is served; None for never.
        fingerprint: fingerprint of the embedder that it applies to; empty for any.
    """

    min_similarity: float | None
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if self.min_similarity is not None and not 0 <= self.min_similarity <= 1:
            raise InvalidInput("min_similarity", self.min_similarity, "0 to 1 (cosine), or None")


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold picked by ``measure``, with its evidence.

    Attributes:
        min_similarity: as in ``Fixed``; None if the pairs cannot support the promise.
        fingerprint: fingerprint of the embedder.
        promise: requested minimum precision; ``confidence``: the confidence with which it holds.
        pairs: number of measured pairs.
        served: number of pairs that would be served; ``wrong``: number of these that should not be.
        precision: precision of the served pairs; ``lower``, ``upper``: its bounds, each with the given confidence.
        recall: share of the pairs labelled the same that would be served.
        reason: why there is no threshold; empty if there is one.
    """

    min_similarity: float | None
    fingerprint: str
    promise: float
    confidence: float
    pairs: int
    served: int
    wrong: int
    precision: float
    lower: float
    upper: float
    recall: float
    reason: str = ""

    def save(self, path: str | Path) -> None:
        """Write the threshold to a JSON file."""
        Path(path).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file written by ``save``.

        Raises:
            CorruptData: the file is not a measured threshold.
        """
        try:
            return msgspec.json.decode(Path(path).read_bytes(), type=cls)
        except msgspec.MsgspecError as error:
            raise CorruptData(f"{path} is not a measured threshold: {error}") from error


Threshold: TypeAlias = Fixed | Measured


async def measure(
    pairs: Sequence[LabelledPair],
    embedder: Embedder,
    guard: Guard,
    *,
    promise: float = 0.95,
    confidence: float = 0.95,
    floor: float = 0.5,
) -> Measured:
    """Pick the lowest threshold that keeps a promise of precision, or none if the pairs cannot support it.

    The threshold is never lower than necessary to serve the least similar pair that it serves, since the pairs say
    nothing about lower similarities. Nor is it lower than ``floor``: labelled pairs have a topic in common, and include
    none of the unrelated questions that a cache sees by the thousand.

    Args:
        pairs: labelled pairs that resemble the cache's traffic, ideally from a ``ShadowCollector``.
        embedder: the cache's embedder.
        guard: the cache's guard.
        promise: minimum precision, more than 0 and less than 1.
        confidence: confidence with which the promise holds, more than 0 and less than 1.
        floor: minimum threshold, whatever the pairs say; 0 to 1.

    Raises:
        InvalidInput: there are no pairs, or a share is out of range.
        Unavailable: the embedder failed.
    """
    for field, share in (("promise", promise), ("confidence", confidence)):
        if not 0 < share < 1:
            raise InvalidInput(field, share, "more than 0 and less than 1")
    if not 0 <= floor <= 1:
        raise InvalidInput("floor", floor, "0 to 1")
    if not pairs:
        raise InvalidInput("pairs", pairs, "at least one")
    passed = [pair for pair in pairs if guard.refuses(pair.a, pair.b) is None]
    similarities = await similarities_of(passed, embedder)
    same = np.array([pair.same for pair in passed], dtype=bool)
    enough = math.ceil(math.log(1 - confidence) / math.log(promise))
    chosen = _lowest(similarities, same, promise, confidence, enough, floor)
    served = similarities >= (math.inf if chosen is None else chosen)
    count, right = int(served.sum()), int(same[served].sum())
    lower, upper = interval(right, count, confidence)
    return Measured(
        min_similarity=chosen,
        fingerprint=embedder.fingerprint,
        promise=promise,
        confidence=confidence,
        pairs=len(pairs),
        served=count,
        wrong=count - right,
        precision=right / count if count else 0.0,
        lower=lower,
        upper=upper,
        recall=right / max(1, sum(pair.same for pair in pairs)),
        reason=_reason(chosen, len(passed), enough),
    )


async def similarities_of(pairs: Sequence[LabelledPair], embedder: Embedder) -> NDArray[np.float64]:
    """Return the cosine of the two questions of each pair, (n,) float64."""
    first = await embedder.embed([pair.a for pair in pairs])
    second = await embedder.embed([pair.b for pair in pairs])
    return np.asarray(np.vecdot(first, second, dtype=np.float64))


def interval(right: int, served: int, confidence: float) -> tuple[float, float]:
    """Return the bounds of a share, each with this confidence (Clopper and Pearson, 1934); (0, 1) of no pairs."""
    doubt = 1 - confidence
    lower = _share_where(lambda share: _at_least(right, served, share) >= doubt) if right else 0.0
    wrong = served - right
    upper = 1 - _share_where(lambda share: _at_least(wrong, served, share) >= doubt) if wrong else 1.0
    return lower, upper


def _lowest(
    similarities: NDArray[np.float64],
    same: NDArray[np.bool_],
    promise: float,
    confidence: float,
    enough: int,
    floor: float,
) -> float | None:
    chosen = None
    for step in range(STEPS - 1, math.ceil(floor * STEPS) - 1, -1):
        served = similarities >= step / STEPS
        count = int(served.sum())
        if count < enough:
            continue
        if _at_least(int(same[served].sum()), count, promise) > 1 - confidence:
            break  # the lower bound of precision is below the promise
        if chosen is None or count > chosen[0]:
            chosen = (count, step / STEPS)
    return None if chosen is None else chosen[1]


def _reason(chosen: float | None, passed: int, enough: int) -> str:
    if chosen is not None:
        return ""
    if passed < enough:
        return f"the guard accepts {passed} pairs; the promise needs at least {enough}"
    return "too many of the pairs that would be served are labelled as different"


def _share_where(holds: Callable[[float], bool]) -> float:
    """Return the smallest share, 0 to 1, for which a monotonic condition holds; by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return low


def _at_least(successes: int, trials: int, share: float) -> float:
    """Return the probability of at least this many successes, if ``share`` is the probability of each."""
    if not 0 < share < 1:
        return float(share >= 1 or successes == 0)
    logs = (
        math.lgamma(trials + 1)
        - math.lgamma(hits + 1)
        - math.lgamma(trials - hits + 1)
        + hits * math.log(share)
        + (trials - hits) * math.log1p(-share)
        for hits in range(successes, trials + 1)
    )
    return math.fsum(map(math.exp, logs))
