"""A breaker opens, rests, allows one trial call, and closes."""

from __future__ import annotations

import pytest
from tests.support.llm.clock import FakeClock

from vectorcache.errors import InvalidInput
from vectorcache_llm.response.breaker import Breaker, State


def opened(clock: FakeClock, **settings: float) -> Breaker:
    breaker = Breaker(clock=clock, **settings)  # type: ignore[arg-type]
    for _ in range(3):
        assert breaker.allows()
        breaker.failed()
    return breaker


def test_it_opens_after_consecutive_failures() -> None:
    breaker = Breaker(failures=2)
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.allows()
    breaker.failed()
    assert not breaker.allows()
    assert breaker.state is State.OPEN


def test_one_trial_call_is_allowed_after_the_rest() -> None:
    clock = FakeClock()
    breaker = opened(clock, rest=1.0)
    clock.advance(0.99)
    assert not breaker.allows()
    clock.advance(0.02)
    assert breaker.allows()
    assert breaker.state is State.PROBING
    assert not breaker.allows()
    breaker.succeeded()
    assert breaker.state is State.CLOSED
    assert breaker.allows()


def test_rests_grow_up_to_the_longest() -> None:
    clock = FakeClock()
    breaker = opened(clock, rest=1.0, longest=3.0)
    for rest in (1.0, 2.0, 3.0, 3.0):
        clock.advance(rest - 0.01)
        assert not breaker.allows()
        clock.advance(0.02)
        assert breaker.allows()
        breaker.failed()


def test_a_recovery_resets_the_rest() -> None:
    clock = FakeClock()
    breaker = opened(clock, rest=1.0)
    clock.advance(1.1)
    assert breaker.allows()
    breaker.failed()
    clock.advance(2.1)
    assert breaker.allows()
    breaker.succeeded()
    for _ in range(3):
        breaker.failed()
    clock.advance(1.1)
    assert breaker.allows()


def test_an_abandoned_trial_allows_another() -> None:
    clock = FakeClock()
    breaker = opened(clock, rest=1.0)
    clock.advance(1.1)
    assert breaker.allows()
    breaker.abandoned()
    assert breaker.allows()


def test_calls_running_when_it_opened_do_not_extend_the_rest() -> None:
    clock = FakeClock()
    breaker = opened(clock, rest=1.0)
    clock.advance(0.9)
    breaker.failed()
    clock.advance(0.2)
    assert breaker.allows()


@pytest.mark.parametrize("settings", [{"failures": 0}, {"rest": 0}, {"rest": 9, "longest": 8}])
def test_settings_are_checked(settings: dict[str, int]) -> None:
    with pytest.raises(InvalidInput):
        Breaker(**settings)
