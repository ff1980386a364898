"""Lifetimes of entries."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import NamedTuple

from vectorcache.errors import InvalidInput


class Span(NamedTuple):
    """The lifetime of one entry, in seconds since the epoch; None for never."""

    created_at: float
    fresh_until: float | None
    expires_at: float | None


class Life:
    """The policy for lifetimes: fresh for ``ttl`` seconds, less a random share up to ``jitter``, then stale for
    ``grace`` seconds. The jitter keeps entries that were stored together from expiring together.

    Args:
        ttl: seconds, or None for no expiry.
        jitter: 0 to 1.
        grace: seconds, 0 or more.
        clock: seconds since the epoch.
        rng: random numbers for the jitter.
    """

    def __init__(
        self,
        ttl: float | None,
        jitter: float = 0.0,
        grace: float = 0.0,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        if not 0 <= jitter <= 1:
            raise InvalidInput("ttl_jitter", jitter, "0 to 1")
        if grace < 0:
            raise InvalidInput("stale_while_revalidate", grace, "0 or more seconds")
        if ttl is not None and not ttl > 0:
            raise InvalidInput("ttl", ttl, "more than 0 seconds, or None")
        self._ttl = ttl
        self._jitter = jitter
        self._grace = grace
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - not used for security

    def of(self, ttl: float | None) -> Life:
        """Return the same policy with another ``ttl``, or this one if it is None."""
        return self if ttl is None else Life(ttl, self._jitter, self._grace, self._clock, self._rng)

    def span(self) -> Span:
        """Return the lifetime of an entry created now."""
        now = self._clock()
        if self._ttl is None:
            return Span(now, None, None)
        fresh_until = now + self._ttl * (1 - self._jitter * self._rng.random())
        return Span(now, fresh_until, fresh_until + self._grace)
