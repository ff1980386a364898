from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from vectorcache.routing.strata import rank_ascending, score_slots

SIDE = 11
NUMBERED = [f"products-node-{number}" for number in range(SIDE)]


def strata(nodes: list[str]) -> NDArray[np.intp]:
    """The stratum of each slot in each node's ranking, best first: ``(nodes, slots)``."""
    scores = score_slots(nodes, SIDE * SIDE)
    return (scores.argsort(axis=0).argsort(axis=0) // SIDE).T


def pairs_of_strata(left: NDArray[np.intp], right: NDArray[np.intp]) -> int:
    return len(set(zip(left.tolist(), right.tolist(), strict=True)))


def test_any_two_strata_of_two_numbered_nodes_have_one_slot_in_common() -> None:
    for left, right in combinations(strata(NUMBERED), 2):
        assert pairs_of_strata(left, right) == SIDE * SIDE


@pytest.mark.parametrize(
    ("left", "right"),
    [("a-1", "b-1"), ("a-1", "a-12"), ("a-1", "a-01"), ("a", "a0"), ("a0", "b0"), ("x-", "y-")],
)
def test_other_bases_and_further_turns_are_other_curves(left: str, right: str) -> None:
    assert pairs_of_strata(*strata([left, right])) > SIDE * 4  # of the same curves it would be SIDE


def test_numbers_may_be_as_long_as_names() -> None:
    longest = "9" * 253
    assert score_slots([longest, "9" * 252], 100).shape == (100, 2)


@pytest.mark.parametrize("slots", [1, 2, 3, 100, 10_000])
def test_a_node_has_one_score_in_each_share_of_the_range(slots: int) -> None:
    step = (2**64 - 1) // slots
    for column in score_slots(["a-0", "a-1", "b"], slots).T:
        assert sorted(int(score) // step for score in column) == list(range(slots))


def test_a_score_depends_on_its_own_name_only() -> None:
    alone, beside = score_slots(["b-1"], 500), score_slots(["a-1", "b-1"], 500)
    np.testing.assert_array_equal(alone[:, 0], beside[:, 1])


def test_of_equal_keys_the_first_one_comes_first() -> None:
    keys = np.random.default_rng(0).integers(0, 300, (3, 1000)).astype(np.uint64)
    distinct = keys * np.uint64(1000) + np.arange(1000, dtype=np.uint64)
    np.testing.assert_array_equal(rank_ascending(keys), rank_ascending(distinct))
