from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorcache_router.membership.base import Members
from vectorcache_router.membership.presence import ContactClock, Pod, Presence

GRACE = 60.0


def url(ordinal: int, turn: int = 0) -> str:
    return f"http://10.0.{turn}.{ordinal}:8080"


def ready(ordinal: int, turn: int = 0) -> Pod:
    return Pod(f"words-node-{ordinal}", url(ordinal, turn), ready=True)


def unready(ordinal: int, turn: int = 0, left: float | None = None) -> Pod:
    return Pod(f"words-node-{ordinal}", url(ordinal, turn), ready=False, left=left)


def new(ordinal: int) -> Pod:
    return Pod(f"words-node-{ordinal}", None, ready=False)


def ring(*ordinals: int, away: tuple[int, ...] = ()) -> Members:
    return Members({f"words-node-{n}": url(n) for n in ordinals}, frozenset(f"words-node-{n}" for n in away))


@pytest.fixture
def presence() -> Presence:
    return Presence("words-node", GRACE)


def test_a_node_is_on_the_ring_from_when_it_is_ready(presence: Presence) -> None:
    assert presence.decide([], 2, 0) == ring()
    assert presence.decide([ready(0), unready(1)], 2, 1) == ring(0)
    assert presence.decide([ready(0), ready(1)], 2, 2) == ring(0, 1)
    assert presence.next_end() is None


@pytest.mark.parametrize("then", [[ready(0)], [ready(0), unready(1)], [ready(0), new(1)]])
def test_an_unready_node_keeps_its_place_for_the_grace_period(presence: Presence, then: list[Pod]) -> None:
    presence.decide([ready(0), ready(1)], 2, 0)
    assert presence.decide(then, 2, 10) == ring(0, 1, away=(1,))
    assert presence.next_end() == 10 + GRACE
    assert presence.decide(then, 2, 9.9 + GRACE) == ring(0, 1, away=(1,))
    assert presence.decide(then, 2, 10 + GRACE) == ring(0)
    assert presence.next_end() is None
    assert presence.decide([ready(0), ready(1)], 2, 200) == ring(0, 1), "back, however late"


def test_the_grace_period_restarts_with_every_absence(presence: Presence) -> None:
    presence.decide([ready(0)], 1, 0)
    assert presence.decide([], 1, 50) == ring(0, away=(0,))
    assert presence.decide([ready(0)], 1, 100) == ring(0)
    assert presence.decide([unready(0)], 1, 150) == ring(0, away=(0,))
    assert presence.decide([unready(0)], 1, 209) == ring(0, away=(0,))


def test_a_node_that_comes_back_elsewhere_has_its_new_address_when_it_is_ready(presence: Presence) -> None:
    presence.decide([ready(0)], 1, 0)
    assert presence.decide([unready(0, turn=1)], 1, 1).urls == {"words-node-0": url(0)}
    assert presence.decide([ready(0, turn=1)], 1, 2) == Members({"words-node-0": url(0, 1)})


def test_a_surplus_node_leaves_immediately(presence: Presence) -> None:
    everyone = [ready(n) for n in range(4)]
    presence.decide(everyone, 4, 0)
    presence.decide(everyone[:3], 4, 1)
    assert presence.decide(everyone[:3], 2, 2) == ring(0, 1)
    assert presence.decide(everyone, 0, 3) == ring()
    assert presence.decide(everyone, 4, 4) == ring(0, 1, 2, 3)


def test_without_a_known_number_all_nodes_are_wanted(presence: Presence) -> None:
    assert presence.decide([ready(0), ready(7)], None, 0) == ring(0, 7)


@pytest.mark.parametrize(
    "name",
    [
        "words-node-",
        "words-node-x",
        "words-node-1x",
        "words-node--1",
        "words-1",
        "a-words-node-1",
        "words-node-²",
    ],
)
def test_pods_of_another_name_are_no_nodes(presence: Presence, name: str) -> None:
    assert presence.decide([Pod(name, url(0), ready=True), ready(0)], None, 0) == ring(0)


def test_without_a_grace_period_unready_nodes_leave_immediately() -> None:
    presence = Presence("words-node", 0.0)
    assert presence.decide([ready(0), ready(1)], 2, 0) == ring(0, 1)
    assert presence.decide([ready(0), unready(1)], 2, 0) == ring(0)


def test_a_router_that_starts_late_restores_nodes_that_left_recently(presence: Presence) -> None:
    pods = [ready(0), unready(1, left=1000.0), unready(2, left=900.0), unready(3), new(4)]
    presence.restore(pods, wall=1020.0, now=5.0)
    assert presence.decide(pods, 9, 5.0) == ring(0, 1, away=(1,))
    assert presence.next_end() == 5.0 - 20 + GRACE
    assert presence.decide(pods, 9, 5.0 + 40) == ring(0)
    assert presence.decide(pods, 9, 5.0 + 41) == ring(0), "recalled once, not again"


def test_restored_nodes_beyond_replicas_are_not_on_the_ring(presence: Presence) -> None:
    presence.restore([unready(3, left=1000.0)], wall=1000.0, now=0.0)
    assert presence.decide([unready(3, left=1000.0)], 3, 0.0) == ring()


def test_clocks_that_disagree_never_lengthen_a_grace_period(presence: Presence) -> None:
    presence.restore([unready(0, left=5000.0)], wall=1000.0, now=0.0)
    presence.decide([unready(0)], 1, 0.0)
    assert presence.next_end() == GRACE


@dataclass
class Cluster:
    """Pods that come and go, as the API tells of them; time by a clock that all share."""

    now: float = 0.0
    replicas: int = 3
    ready: dict[int, bool] = field(default_factory=dict)
    left: dict[int, float] = field(default_factory=dict)

    def pods(self) -> list[Pod]:
        return [ready(n) if up else unready(n, left=self.left.get(n)) for n, up in self.ready.items()]

    def step(self, kind: str, ordinal: int, seconds: int) -> None:
        self.now += seconds
        if kind == "scale":
            self.replicas = ordinal + 1
        elif kind == "up":
            self.ready[ordinal] = True
            self.left.pop(ordinal, None)
        elif kind == "down" and self.ready.get(ordinal):
            self.ready[ordinal] = False
            self.left[ordinal] = self.now
        elif kind == "gone" and not self.ready.get(ordinal):
            self.ready.pop(ordinal, None)
            self.left.pop(ordinal, None)


STEPS = st.lists(
    st.tuples(st.sampled_from(["up", "up", "down", "gone", "scale"]), st.integers(0, 4), st.integers(0, 40)),
    max_size=40,
)


@given(STEPS)
def test_the_ring_has_ready_nodes_and_those_in_their_grace_period(steps: list[tuple[str, int, int]]) -> None:
    """Against a model that looks at the whole history each time."""
    cluster, presence = Cluster(), Presence("words-node", GRACE)
    last_ready: dict[int, float] = {}
    for step in steps:
        for n, up in cluster.ready.items():
            if up and n < cluster.replicas:
                last_ready[n] = cluster.now + step[2]  # until this step
        cluster.step(*step)
        now = cluster.now
        members = presence.decide(cluster.pods(), cluster.replicas, now)
        wanted = {n for n in range(5) if n < cluster.replicas}
        last_ready = {n: at for n, at in last_ready.items() if n in wanted}
        up = {n for n, is_up in cluster.ready.items() if is_up and n in wanted}
        last_ready |= dict.fromkeys(up, now)
        last_ready = {n: at for n, at in last_ready.items() if now - at < GRACE}
        assert members == ring(*last_ready, away=tuple({*last_ready} - up))


@given(STEPS, st.integers(0, 39))
def test_routers_that_start_at_different_times_agree_in_the_end(
    steps: list[tuple[str, int, int]], later: int
) -> None:
    cluster = Cluster()
    first, second = Presence("words-node", GRACE), Presence("words-node", GRACE)
    for number, step in enumerate(steps):
        cluster.step(*step)
        first.decide(cluster.pods(), cluster.replicas, cluster.now)
        if number == later:
            second.restore(cluster.pods(), wall=cluster.now, now=cluster.now)
        if number >= later:
            second.decide(cluster.pods(), cluster.replicas, cluster.now)
    if len(steps) <= later:
        second.restore(cluster.pods(), wall=cluster.now, now=cluster.now)
    end = cluster.now + GRACE
    told = [one.decide(cluster.pods(), cluster.replicas, end) for one in (first, second)]
    assert told[0] == told[1] == ring(*(n for n, up in cluster.ready.items() if up and n < cluster.replicas))


@given(STEPS)
def test_a_late_router_agrees_at_once_where_the_pods_are_still_there(
    steps: list[tuple[str, int, int]],
) -> None:
    cluster, first = Cluster(), Presence("words-node", GRACE)
    cluster.replicas = 5
    for kind, ordinal, seconds in steps:
        if kind in ("up", "down"):
            cluster.step(kind, ordinal, seconds)
            first.decide(cluster.pods(), 5, cluster.now)
    late = Presence("words-node", GRACE)
    late.restore(cluster.pods(), wall=cluster.now, now=cluster.now)
    assert late.decide(cluster.pods(), 5, cluster.now) == first.decide(cluster.pods(), 5, cluster.now)


def test_time_counts_when_a_sign_of_life_confirms_it() -> None:
    now = 100.0
    clock = ContactClock(lambda: now)
    assert (clock.running, clock.seconds, clock.expected()) == (False, 0.0, 0.0)
    clock.contact()
    now = 107.0
    assert (clock.running, clock.seconds, clock.expected()) == (True, 0.0, 7.0)
    clock.contact()
    assert clock.seconds == 7.0
    now = 110.0
    clock.lost()
    now = 200.0
    assert (clock.running, clock.expected()) == (False, 7.0)
    clock.contact()
    assert clock.seconds == 7.0, "the time from the last sign of life to the next one is not counted"
    now = 201.0
    clock.contact()
    assert clock.seconds == 8.0
