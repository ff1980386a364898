"""Kubernetes Events on what a human cares about: few, and never the same twice in a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import structlog

from vectorcache.errors import VectorCacheError
from vectorcache_operator import kinds, names
from vectorcache_operator.conditions import Reason, State, Type, find, timestamp
from vectorcache_operator.errors import NamespaceTerminating
from vectorcache_operator.kinds import Object
from vectorcache_operator.kube import Kube
from vectorcache_operator.metrics import OperatorMetrics
from vectorcache_operator.names import Key

QUIET_SECONDS = 600.0
"""How long the same is not told again."""
BURST, REFILL_SECONDS = 20, 30.0
"""Events of one resource: that many at once, and one more each so many seconds."""
WAITING = 256
MAX_MESSAGE = 1000


OTHER_REASONS = {
    "Ready": "Searches are answered.",
    "Recovered": "It is no longer degraded.",
    "Repaired": "An object that it owns was changed by somebody else, and is as it should be again.",
    "VolumesGrow": "The nodes' volumes were asked to grow.",
}
"""What Events say beside reasons of conditions."""


class Severity(StrEnum):
    """The types that Events have."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Notice:
    """What an Event says."""

    severity: Severity
    reason: str
    message: str


@dataclass(slots=True)
class _Budget:
    tokens: float
    at: float


class Events:
    """Sends notices in the background. One that was told lately is left out; too many are dropped and counted."""

    def __init__(
        self,
        kube: Kube,
        metrics: OperatorMetrics,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        instance: str,
    ) -> None:
        self._kube = kube
        self._metrics = metrics
        self._clock = clock
        self._now = now
        self._instance = instance
        self._told: dict[tuple[Key, Notice], float] = {}
        self._budgets: dict[Key, _Budget] = {}
        self._waiting: asyncio.Queue[Object] = asyncio.Queue(WAITING)

    def tell(self, obj: Object, notice: Notice) -> bool:
        """Send a notice about a resource; False where it is left out."""
        key = Key(kinds.namespace_of(obj), kinds.name_of(obj))
        now = self._clock()
        self._told = {one: at for one, at in self._told.items() if now - at < QUIET_SECONDS}
        if (key, notice) in self._told:
            return False
        if not self._may_spend(key, now) or self._waiting.full():
            self._metrics.events_dropped.inc()
            return False
        self._told[key, notice] = now
        self._waiting.put_nowait(self._event(obj, notice))
        return True

    def forget(self, key: Key) -> None:
        """Drop what is known of a resource that is gone."""
        self._budgets.pop(key, None)

    async def run(self) -> None:
        """Send until cancelled. An Event that the API does not take is no reason for another try."""
        while True:
            event = await self._waiting.get()
            try:
                await self._kube.create(kinds.EVENT, event["metadata"]["namespace"], event)
            except NamespaceTerminating:
                continue
            except VectorCacheError as error:
                structlog.get_logger().warning("event not sent", reason=event["reason"], error=str(error))

    def _may_spend(self, key: Key, now: float) -> bool:
        budget = self._budgets.setdefault(key, _Budget(BURST, now))
        budget.tokens = min(BURST, budget.tokens + (now - budget.at) / REFILL_SECONDS)
        budget.at = now
        if budget.tokens < 1:
            return False
        budget.tokens -= 1
        return True

    def _event(self, obj: Object, notice: Notice) -> Object:
        metadata, at = obj["metadata"], timestamp(self._now())
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": "VectorCache",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "type": notice.severity.value,
            "reason": notice.reason,
            "message": notice.message[:MAX_MESSAGE],
            "count": 1,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "source": {"component": names.OPERATOR},
            "reportingComponent": names.OPERATOR,
            "reportingInstance": self._instance,
        }


def notices(before: Object, after: Object) -> list[Notice]:
    """What is worth telling about the change from one status to the next."""
    told = []
    for kind in Type:
        old, new = find(before.get("conditions", ()), kind), find(after["conditions"], kind)
        if not new or (old.get("status"), old.get("reason")) == (new["status"], new["reason"]):
            continue
        notice = _notice(kind, old, new)
        if notice is not None:
            told.append(notice)
    return told


def _notice(kind: Type, old: Object, new: Object) -> Notice | None:
    state, reason, message = new["status"], new["reason"], new["message"]
    bad = {Type.DEGRADED: State.TRUE, Type.STORAGE_REACHABLE: State.FALSE}
    good = {Type.DEGRADED: State.FALSE, Type.STORAGE_REACHABLE: State.TRUE}
    if kind is Type.READY:
        if state == State.TRUE:
            return Notice(Severity.NORMAL, "Ready", message)
        severity = Severity.NORMAL if reason in (Reason.STARTING, Reason.HIBERNATED) else Severity.WARNING
        return Notice(severity, reason, message)
    if kind is Type.PROGRESSING and reason != Reason.STARTING:
        return Notice(Severity.NORMAL, reason, message) if state == State.TRUE else None
    if kind is Type.PROGRESSING:
        return None  # the other condition tells of the start
    if state == bad[kind]:
        return Notice(Severity.WARNING, reason, message)
    if state == good[kind] and old.get("status") == bad[kind]:
        return Notice(
            Severity.NORMAL, "Recovered" if kind is Type.DEGRADED else reason, message or "all is well again"
        )
    return None
