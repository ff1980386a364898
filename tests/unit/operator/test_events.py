from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.support.operator.fake_kube import FakeKube
from tests.support.operator.resources import NOW, Object, obj
from tests.support.waiting import until

from vectorcache_operator.apply import Applier
from vectorcache_operator.cache import WatchCache
from vectorcache_operator.errors import ApiUnavailable
from vectorcache_operator.events import (
    BURST,
    QUEUE_SIZE,
    QUIET_SECONDS,
    REFILL_SECONDS,
    Events,
    Notice,
    Severity,
    notices,
)
from vectorcache_operator.metrics import OperatorMetrics

NOTICE = Notice(Severity.NORMAL, "Repaired", "StatefulSet products-node was changed")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
def metrics() -> OperatorMetrics:
    return OperatorMetrics(CollectorRegistry())


@pytest.fixture
def events(kube: Any, clock: Clock, metrics: OperatorMetrics) -> Events:
    return Events(
        Applier(kube, WatchCache(), metrics).create_event, metrics, clock, lambda: NOW, "operator-0"
    )


def test_an_identical_event_is_not_repeated_soon(events: Events, clock: Clock) -> None:
    assert events.emit(obj(), NOTICE)
    clock.now = QUIET_SECONDS - 1
    assert not events.emit(obj(), NOTICE)
    assert events.emit(obj("other"), NOTICE)
    clock.now = QUIET_SECONDS
    assert events.emit(obj(), NOTICE)


def test_each_resource_has_a_rate_limit(events: Events, clock: Clock, metrics: OperatorMetrics) -> None:
    told = [events.emit(obj(), Notice(Severity.NORMAL, "R", str(number))) for number in range(BURST + 5)]
    assert sum(told) == BURST
    assert metrics.events_dropped._value.get() == 5
    assert events.emit(obj("other"), NOTICE)
    clock.now = REFILL_SECONDS
    assert events.emit(obj(), NOTICE)


def test_the_queue_is_bounded(events: Events) -> None:
    told = [events.emit(obj(f"r{number}"), NOTICE) for number in range(QUEUE_SIZE + 5)]
    assert sum(told) == QUEUE_SIZE


async def test_a_failed_event_is_skipped(events: Events, kube: FakeKube) -> None:
    kube.fail = [ApiUnavailable("away")]
    task = asyncio.create_task(events.run())
    events.emit(obj(), Notice(Severity.WARNING, "Lost", "one"))
    events.emit(obj(), NOTICE)
    await until(lambda: bool(kube.writes))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert kube.writes == ["create Event Repaired"]


def conditions(**states: str) -> Object:
    found = []
    for kind, text in states.items():
        state, reason = text.split()
        found.append({"type": kind, "status": state, "reason": reason, "message": f"about {kind}"})
    return {"conditions": found}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {"Ready": "False Starting", "Degraded": "False AsExpected"}, ["Normal Starting"]),
        ({"Ready": "False Starting"}, {"Ready": "True Serving"}, ["Normal Ready"]),
        ({"Ready": "True Serving"}, {"Ready": "False NoNodesReady"}, ["Warning NoNodesReady"]),
        ({"Ready": "True Serving"}, {"Ready": "False Hibernated"}, ["Normal Hibernated"]),
        ({"Ready": "True Serving"}, {"Ready": "True Serving"}, []),
        ({"Progressing": "False Complete"}, {"Progressing": "True Scaling"}, ["Normal Scaling"]),
        ({}, {"Progressing": "True Starting"}, []),
        ({"Progressing": "True Scaling"}, {"Progressing": "False Complete"}, []),
        (
            {"Degraded": "False AsExpected"},
            {"Degraded": "True ImagePullFailing"},
            ["Warning ImagePullFailing"],
        ),
        (
            {"Degraded": "True ImagePullFailing"},
            {"Degraded": "True Unschedulable"},
            ["Warning Unschedulable"],
        ),
        ({"Degraded": "True Unschedulable"}, {"Degraded": "False AsExpected"}, ["Normal Recovered"]),
        (
            {"StorageReachable": "True Reachable"},
            {"StorageReachable": "False Unreachable"},
            ["Warning Unreachable"],
        ),
        (
            {"StorageReachable": "False Unreachable"},
            {"StorageReachable": "True Reachable"},
            ["Normal Reachable"],
        ),
        ({"StorageReachable": "Unknown RoutersSilent"}, {"StorageReachable": "True Reachable"}, []),
        ({"StorageReachable": "True Reachable"}, {"StorageReachable": "Unknown RoutersSilent"}, []),
    ],
)
def test_notices_about_a_changed_status(
    before: dict[str, str], after: dict[str, str], told: list[str]
) -> None:
    found = notices(conditions(**before) if before else {}, conditions(**after))
    assert [f"{one.severity} {one.reason}" for one in found] == told
