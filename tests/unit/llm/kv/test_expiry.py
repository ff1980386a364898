from __future__ import annotations

import random

from vectorcache_llm.kv.expiry import SLACK, Expiries
from vectorcache_llm.scope import EVERYBODY


def test_the_first_to_expire_is_found_after_any_changes() -> None:
    expiries, rng = Expiries(), random.Random(3)
    ends: dict[str, tuple[float, int]] = {}
    for step in range(3000):
        key = str(rng.randrange(50))
        if rng.random() < 0.7:
            end = float(rng.randrange(100))
            expiries.set((EVERYBODY, key), end)
            ends[key] = (end, step)
        else:
            expiries.discard((EVERYBODY, key))
            ends.pop(key, None)
        first = min(ends, key=ends.__getitem__, default=None)
        assert expiries.first() == (None if first is None else (ends[first][0], (EVERYBODY, first)))


def test_repeated_sets_do_not_take_more_memory() -> None:
    expiries = Expiries()
    for step in range(10_000):
        expiries.set((EVERYBODY, "a"), float(step))
    assert len(expiries._heap) <= 2 + SLACK
    assert expiries.first() == (9999.0, (EVERYBODY, "a"))
