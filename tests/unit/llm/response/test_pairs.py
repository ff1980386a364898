"""The labelled pairs of the package match their documentation."""

from __future__ import annotations

from collections import Counter

from vectorcache_llm.response import load_pairs


def test_pairs_are_many_of_many_kinds_and_unique() -> None:
    pairs = load_pairs()
    kinds = Counter((pair.kind, pair.same) for pair in pairs)
    assert len(pairs) >= 400
    assert len(kinds) == len({kind for kind, _ in kinds}) >= 15  # all pairs of a kind have the same label
    assert min(kinds.values()) >= 8
    assert len({frozenset((pair.a, pair.b)) for pair in pairs}) == len(pairs)
    assert len({pair.id for pair in pairs}) == len(pairs)
    assert all(pair.a != pair.b and pair.domain for pair in pairs)
    assert 0.4 < sum(pair.same for pair in pairs) / len(pairs) < 0.6


def test_half_is_held_out() -> None:
    tuning, held_out = load_pairs(split="tuning"), load_pairs(split="held_out")
    assert len(tuning) + len(held_out) == len(load_pairs())
    assert {pair.id for pair in tuning}.isdisjoint(pair.id for pair in held_out)
    assert 0.4 < len(held_out) / len(load_pairs()) < 0.6
    assert {pair.kind for pair in tuning} == {pair.kind for pair in held_out}
