"""Thresholds: which one is picked, which pairs give none, and that the promise holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vectorcache.errors import CorruptData, InvalidInput
from vectorcache.vectors.metric import Floats
from vectorcache_llm.embedders import HashingEmbedder
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.response import Fixed, Guard, LabelledPair, Measured, measure
from vectorcache_llm.response.threshold import interval

NO_CHECKS = Guard(())


class AngleEmbedder(Embedder):
    """Embeds the text of a cosine: that of "0.9" and "1" is 0.9."""

    fingerprint = "angles"
    dimension = 2

    async def embed(self, texts: Sequence[str]) -> Floats:
        cosines = np.array([float(text) for text in texts] or np.empty(0), dtype=np.float32)
        return np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)


def pairs(*groups: tuple[float, int, int]) -> list[LabelledPair]:
    """Pairs of a similarity, with numbers of correct and wrong ones."""
    return [
        LabelledPair("1", str(similarity), same)
        for similarity, right, wrong in groups
        for same in [True] * right + [False] * wrong
    ]


@pytest.mark.parametrize(
    ("right", "served", "confidence", "expected"),
    [
        # Exact values of Clopper and Pearson's interval: beta quantiles.
        (0, 0, 0.95, (0.0, 1.0)),
        (59, 59, 0.95, (0.9504924, 1.0)),
        (5, 10, 0.975, (0.1870860, 0.8129140)),
        (95, 100, 0.975, (0.8871651, 0.9835681)),
        (0, 20, 0.95, (0.0, 0.1391083)),
    ],
)
def test_the_interval_is_clopper_and_pearsons(
    right: int, served: int, confidence: float, expected: tuple[float, float]
) -> None:
    assert interval(right, served, confidence) == pytest.approx(expected, abs=1e-6)


async def test_the_lowest_threshold_that_keeps_the_promise_is_picked() -> None:
    measured = await measure(
        pairs((0.95, 100, 0), (0.855, 100, 2), (0.7, 20, 40), (0.3, 0, 100)), AngleEmbedder(), NO_CHECKS
    )
    assert measured.min_similarity == 0.85
    assert (measured.served, measured.wrong, measured.pairs) == (202, 2, 362)
    assert measured.precision == pytest.approx(200 / 202)
    assert measured.lower >= 0.95
    assert measured.recall == pytest.approx(200 / 220)
    assert measured.fingerprint == "angles"
    assert measured.reason == ""


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ([(0.9, 58, 0)], "needs at least 59"),
        ([(0.9, 90, 10)], "too many"),
        ([(0.9, 0, 200)], "too many"),
    ],
)
async def test_pairs_that_cannot_support_the_promise_give_no_threshold(
    groups: list[tuple[float, int, int]], reason: str
) -> None:
    measured = await measure(pairs(*groups), AngleEmbedder(), NO_CHECKS)
    assert measured.min_similarity is None
    assert (measured.served, measured.lower, measured.upper) == (0, 0.0, 1.0)
    assert reason in measured.reason


async def test_the_first_failing_threshold_ends_the_search() -> None:
    groups = [(0.955, 70, 0), (0.855, 5, 30), (0.755, 5000, 0)]
    assert (await measure(pairs(*groups), AngleEmbedder(), NO_CHECKS)).min_similarity == 0.95


async def test_pairs_refused_by_the_guard_do_not_count() -> None:
    traps = [LabelledPair(f"Give me {n} apples", f"Give me {n + 1} apples", False) for n in range(2, 200)]
    right = [
        LabelledPair(f"Give me {n} apples", f"Hello, could you please give me {n} apples, thanks", True)
        for n in range(2, 102)
    ]
    embedder = HashingEmbedder()
    assert (await measure(traps + right, embedder, Guard())).served == 100
    assert (await measure(traps + right, embedder, NO_CHECKS)).min_similarity is None


async def test_the_promise_holds_over_many_samples() -> None:
    """The true precision of the picked threshold is below the promise in at most 5 % of samples, with some margin."""
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(60):
        similarity = np.round(rng.uniform(0.3, 1, 400), 3)
        same = rng.random(400) < _share_right(similarity)
        sample = [
            LabelledPair("1", str(value), bool(label)) for value, label in zip(similarity, same, strict=True)
        ]
        threshold = (await measure(sample, AngleEmbedder(), NO_CHECKS, promise=0.9)).min_similarity
        if threshold is not None:
            served = np.linspace(threshold, 1, 1000)
            broken += _share_right(served).mean() < 0.9
    assert broken <= 7


def _share_right(similarity: np.ndarray) -> np.ndarray:
    """All pairs above 0.8 are correct, and decreasing shares below."""
    return np.clip(1 - 2 * (0.8 - similarity), 0, 1)


async def test_measured_thresholds_can_be_saved(tmp_path: Path) -> None:
    measured = await measure(pairs((0.9, 100, 0)), AngleEmbedder(), NO_CHECKS)
    measured.save(tmp_path / "threshold.json")
    assert Measured.load(tmp_path / "threshold.json") == measured
    (tmp_path / "other.json").write_text('{"min_similarity": 2}')
    with pytest.raises(CorruptData, match="other.json"):
        Measured.load(tmp_path / "other.json")


async def test_input_is_checked() -> None:
    for settings in ({"promise": 1.0}, {"confidence": 0.0}):
        with pytest.raises(InvalidInput):
            await measure(pairs((0.9, 1, 0)), AngleEmbedder(), NO_CHECKS, **settings)
    with pytest.raises(InvalidInput):
        await measure([], AngleEmbedder(), NO_CHECKS)
    with pytest.raises(InvalidInput):
        Fixed(1.5)
