"""A circuit breaker, which suspends calls to a failing part (M. Nygard, "Release It!", 2007)."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

from vectorcache.errors import InvalidInput


class State(StrEnum):
    """The state of a breaker."""

    CLOSED = "closed"
    """Calls are allowed."""
    OPEN = "open"
    """Calls are not allowed until the rest is over."""
    PROBING = "probing"
    """One trial call is running; no other call is allowed."""


class Breaker:
    """A circuit breaker: opens after ``failures`` in a row, then allows one trial call, and closes when that succeeds.

    The trial call is allowed after ``rest`` seconds, doubled after each failed trial up to ``longest``. Callers report
    the result of each allowed call with ``succeeded``, ``failed`` or ``abandoned``. Not thread-safe: use it in one
    event loop or thread.

    Args:
        failures: number of consecutive failures that open the breaker.
        rest: seconds before the first trial call.
        longest: maximum rest in seconds, and thus the longest time for which a recovered part is not used.
        clock: monotonic clock in seconds.
    """

    __slots__ = ("_clock", "_failures", "_first", "_in_row", "_longest", "_probing", "_rest", "_until")

    def __init__(
        self,
        failures: int = 3,
        rest: float = 0.5,
        longest: float = 8.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if failures < 1:
            raise InvalidInput("failures", failures, "1 or more")
        if not 0 < rest <= longest:
            raise InvalidInput("rest", rest, f"more than 0 and at most longest, {longest} seconds")
        self._failures = failures
        self._first = self._rest = rest
        self._longest = longest
        self._clock = clock
        self._in_row = 0
        self._until: float | None = None
        self._probing = False

    @property
    def state(self) -> State:
        """The current state. It is open until a trial call is allowed, even if the rest is over."""
        if self._probing:
            return State.PROBING
        return State.CLOSED if self._until is None else State.OPEN

    def allows(self) -> bool:
        """Return whether a call is allowed. The first one after the rest is the trial call."""
        if self._until is None:
            return True
        if self._probing or self._clock() < self._until:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """Report that a call succeeded."""
        self._in_row = 0
        if self._until is not None:
            self._until = None
            self._probing = False
            self._rest = self._first

    def failed(self) -> None:
        """Report that a call failed. Calls that were running when the breaker opened do not extend the rest."""
        self._in_row += 1
        if self._probing:
            self._rest = min(2 * self._rest, self._longest)
        elif self._until is not None or self._in_row < self._failures:
            return
        self._probing = False
        self._until = self._clock() + self._rest

    def abandoned(self) -> None:
        """Report that a call ended without a result, for example because its caller was cancelled."""
        self._probing = False
