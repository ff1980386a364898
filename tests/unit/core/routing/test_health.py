from __future__ import annotations

import pytest
from tests.support.core.fake_nodes import FakeClock

from vectorcache.routing.health import NodeHealth


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def health(clock: FakeClock) -> NodeHealth:
    return NodeHealth(clock, cooldown=1.0, longest=8.0)


def pause(health: NodeHealth, clock: FakeClock, name: str = "a") -> float:
    """For how long a node is suspect from now on, to a quarter of a second; the clock is there then."""
    start = clock.now
    while name in health.suspects():
        clock.now += 0.25
    return clock.now - start


def test_nobody_is_suspect_at_first(health: NodeHealth) -> None:
    assert health.suspects() == frozenset()
    health.worked("a")
    assert health.suspects() == frozenset()


def test_each_failure_in_a_row_counts_twice_as_long_up_to_a_bound(
    health: NodeHealth, clock: FakeClock
) -> None:
    pauses = []
    for _ in range(6):
        health.failed("a")
        pauses.append(pause(health, clock))
    assert pauses == [1, 2, 4, 8, 8, 8]


def test_a_node_that_is_gone_for_hours_stays_bounded(health: NodeHealth, clock: FakeClock) -> None:
    for _ in range(3000):
        health.failed("a")
        clock.now += 8
    health.failed("a")
    assert pause(health, clock) == 8


def test_requests_that_fail_together_count_once(health: NodeHealth, clock: FakeClock) -> None:
    for _ in range(50):
        health.failed("a")
    assert pause(health, clock) == 1
    health.failed("a")
    assert pause(health, clock) == 2


def test_what_works_again_begins_anew(health: NodeHealth, clock: FakeClock) -> None:
    health.failed("a")
    pause(health, clock)
    health.failed("a")
    health.worked("a")
    assert health.suspects() == frozenset()
    health.failed("a")
    assert pause(health, clock) == 1


def test_nodes_are_apart(health: NodeHealth, clock: FakeClock) -> None:
    health.failed("a")
    clock.now += 0.5
    health.failed("b")
    assert health.suspects() == {"a", "b"}
    clock.now += 0.5
    assert health.suspects() == {"b"}


def test_forgets_nodes_that_are_gone(health: NodeHealth, clock: FakeClock) -> None:
    for _ in range(3):
        health.failed("a")
        health.failed("b")
        pause(health, clock)
    health.failed("a")
    health.failed("b")
    health.keep(frozenset({"b"}))
    assert health.suspects() == {"b"}
    health.failed("a")
    assert pause(health, clock) == 1
