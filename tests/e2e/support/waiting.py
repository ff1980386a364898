"""Waiting for what a cluster does: looks often, gives up at a deadline, and says what it saw last."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.2


def until(look: Callable[[], T], what: str, seconds: float = 60.0) -> T:
    """Look again and again until there is something true, and return it."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}; last seen: {seen!r}"
        time.sleep(POLL_SECONDS)


def until_equal(look: Callable[[], T], wanted: T, what: str, seconds: float = 60.0) -> None:
    """Look again and again until it is what is wanted."""
    deadline = time.monotonic() + seconds
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline, (
            f"not within {seconds:g} s: {what}: {wanted!r}; last seen: {seen!r}"
        )
        time.sleep(POLL_SECONDS)
