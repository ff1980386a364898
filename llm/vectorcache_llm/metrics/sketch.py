"""Quantiles of durations in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate

ACCURACY = 0.01
"""The relative error of a quantile: 1 %."""

_SHORTEST = 1e-7
_LONGEST = 1e4
_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_PER_FACTOR = 1 / math.log(_GAMMA)


class Sketch:
    """Counts of durations in buckets whose bounds grow by a constant factor, so that the relative error of any quantile
    is at most ``ACCURACY``. Durations are clamped to 0.1 µs to 10 000 s, which takes at most 1,267 buckets.

    Source: DDSketch (Masson, Rim, Lee, PVLDB 2019), with a fixed range.
    """

    __slots__ = ("buckets", "count", "total")

    def __init__(self, buckets: Mapping[int, int] | None = None, total: float = 0.0) -> None:
        self.buckets = dict(buckets or {})
        self.count = sum(self.buckets.values())
        self.total = total

    def add(self, seconds: float) -> None:
        """Count one duration."""
        bucket = _bucket(seconds)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.count += 1
        self.total += seconds

    def merge(self, other: Sketch) -> None:
        """Add the counts of another sketch. The error does not grow."""
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total

    def quantiles(self, *shares: float) -> list[float]:
        """Return for each share the seconds that this share of the durations does not exceed; 0 without durations."""
        if not self.count:
            return [0.0] * len(shares)
        order = sorted(self.buckets)
        sums = list(accumulate(self.buckets[bucket] for bucket in order))
        return [_value(order[_first(sums, max(1, math.ceil(share * self.count)))]) for share in shares]

    def at_most(self, *bounds: float) -> list[int]:
        """Return how many durations do not exceed each bound, to within ``ACCURACY`` of the bound."""
        limits = [_bucket(bound) for bound in bounds]
        return [sum(count for bucket, count in self.buckets.items() if bucket <= limit) for limit in limits]


def _bucket(seconds: float) -> int:
    return math.ceil(math.log(min(max(seconds, _SHORTEST), _LONGEST)) * _PER_FACTOR)


def _value(bucket: int) -> float:
    """Return the value of a bucket whose relative error is at most ``ACCURACY``."""
    return 2 * _GAMMA**bucket / (_GAMMA + 1)


def _first(sums: list[int], rank: int) -> int:
    return next(place for place, reached in enumerate(sums) if reached >= rank)
