from __future__ import annotations

import pytest
from tests.support.core.fake_nodes import FakeClock

from vectorcache.routing.load import FRESH, NodeLoads


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def loads(clock: FakeClock) -> NodeLoads:
    return NodeLoads(clock)


def test_what_is_asked_counts_until_it_is_done(loads: NodeLoads) -> None:
    assert loads.now() == {}
    loads.asked("a", 30)
    loads.asked("b", 5)
    loads.asked("a", 12)
    assert loads.now() == {"a": 42, "b": 5}
    loads.done("a", 30)
    loads.done("b", 5)
    assert loads.now() == {"a": 12}


def test_what_a_node_tells_counts_where_it_is_more(loads: NodeLoads) -> None:
    loads.asked("a", 30)
    loads.reported("a", 20)
    loads.reported("b", 7)
    assert loads.now() == {"a": 30, "b": 7}
    loads.reported("a", 90)
    loads.reported("b", 0)
    assert loads.now() == {"a": 90}


def test_what_a_node_told_is_forgotten_in_time(loads: NodeLoads, clock: FakeClock) -> None:
    loads.reported("a", 20)
    clock.now += 0.9 * FRESH
    loads.reported("b", 7)
    clock.now += 0.2 * FRESH
    assert loads.now() == {"b": 7}
    loads.asked("a", 3)
    assert loads.now() == {"a": 3, "b": 7}
