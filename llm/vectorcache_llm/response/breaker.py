"""A circuit breaker: what keeps failing is left alone for a while (M. Nygard, "Release It!", 2007)."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

from vectorcache.errors import InvalidInput


class State(StrEnum):
    """Of a breaker."""

    CLOSED = "closed"
    """Calls go through."""
    OPEN = "open"
    """No call goes through until the rest is over."""
    PROBING = "probing"
    """One call is under way to find out; no other goes through."""


class Breaker:
    """Opens after ``failures`` in a row, rests, lets one call try, and closes when that succeeds.

    The rest is ``rest`` seconds, doubled after each failed try up to ``longest``. Who was allowed a call tells how it
    ended by ``succeeded``, ``failed`` or ``abandoned``. For one event loop or thread.

    Args:
        failures: so many in a row open it.
        rest: seconds before the first try.
        longest: seconds; no rest is longer, so that what is well again is taken up that soon.
        clock: seconds that never go back.
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
        """What it does with the next call, but for the end of the rest."""
        if self._probing:
            return State.PROBING
        return State.CLOSED if self._until is None else State.OPEN

    def allows(self) -> bool:
        """Whether a call may go through; the first after the rest becomes the try."""
        if self._until is None:
            return True
        if self._probing or self._clock() < self._until:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """A call did its work."""
        self._in_row = 0
        if self._until is not None:
            self._until = None
            self._probing = False
            self._rest = self._first

    def failed(self) -> None:
        """A call failed. Of calls that were under way when it opened, none makes the rest longer."""
        self._in_row += 1
        if self._probing:
            self._rest = min(2 * self._rest, self._longest)
        elif self._until is not None or self._in_row < self._failures:
            return
        self._probing = False
        self._until = self._clock() + self._rest

    def abandoned(self) -> None:
        """A call ended without telling anything, such as by its caller's cancellation."""
        self._probing = False
