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
    """Counts durations in buckets whose bounds grow by a constant factor, so that any quantile is known to within
    ``ACCURACY`` of itself. What is shorter than 0.1 µs or longer than 10 000 s counts as that: at most 1,267 buckets.

    Source: DDSketch (Masson, Rim, Lee, PVLDB 2019), with its range fixed beforehand.
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
        """Count all that another one counted; the error stays what it is."""
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total

    def quantiles(self, *shares: float) -> list[float]:
        """Seconds that this share of the durations do not exceed, for each share; 0 where nothing was counted."""
        if not self.count:
            return [0.0] * len(shares)
        order = sorted(self.buckets)
        sums = list(accumulate(self.buckets[bucket] for bucket in order))
        return [_value(order[_first(sums, max(1, math.ceil(share * self.count)))]) for share in shares]

    def at_most(self, *bounds: float) -> list[int]:
        """How many durations do not exceed each bound; those within ``ACCURACY`` of it may count or not."""
        limits = [_bucket(bound) for bound in bounds]
        return [sum(count for bucket, count in self.buckets.items() if bucket <= limit) for limit in limits]


def _bucket(seconds: float) -> int:
    return math.ceil(math.log(min(max(seconds, _SHORTEST), _LONGEST)) * _PER_FACTOR)


def _value(bucket: int) -> float:
    """The middle of a bucket, by ratio: no value in it is further away than ``ACCURACY``."""
    return 2 * _GAMMA**bucket / (_GAMMA + 1)


def _first(sums: list[int], rank: int) -> int:
    return next(place for place, reached in enumerate(sums) if reached >= rank)
