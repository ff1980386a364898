"""Kubernetes Events, rate-limited and without repetitions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import structlog

from vectorcache.errors import VectorCacheError
from vectorcache_operator import kinds, names
from vectorcache_operator.conditions import Reason, State, Type, find, timestamp
from vectorcache_operator.errors import NamespaceTerminating
from vectorcache_operator.kinds import Object
from vectorcache_operator.metrics import OperatorMetrics
from vectorcache_operator.names import Key

QUIET_SECONDS = 600.0
"""Time during which an identical Event is not sent again."""
BURST, REFILL_SECONDS = 20, 30.0
"""Rate limit per resource: a burst of Events, and the seconds until one more is allowed."""
QUEUE_SIZE = 256
MAX_MESSAGE = 1000


OTHER_REASONS = {
    "Ready": "The cache serves searches.",
    "Recovered": "The resource is no longer degraded.",
    "Repaired": "Another client changed an object of the resource, and the operator restored it.",
    "VolumesGrow": "The operator expands the nodes' volumes.",
}
"""Reasons of Events that are no reasons of conditions, with their descriptions."""


class Severity(StrEnum):
    """The types of Events."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Notice:
    """The content of an Event."""

    severity: Severity
    reason: str
    message: str


@dataclass(slots=True)
class _Budget:
    tokens: float
    at: float


class Events:
    """Sends notices in the background. Recent ones are not repeated. Those over the limit are dropped and counted."""

    def __init__(
        self,
        send: Callable[[Object], Awaitable[None]],
        metrics: OperatorMetrics,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        instance: str,
    ) -> None:
        self._send = send
        self._metrics = metrics
        self._clock = clock
        self._now = now
        self._instance = instance
        self._sent_at: dict[tuple[Key, Notice], float] = {}
        self._budgets: dict[Key, _Budget] = {}
        self._queue: asyncio.Queue[Object] = asyncio.Queue(QUEUE_SIZE)

    def emit(self, obj: Object, notice: Notice) -> bool:
        """Queue a notice about a resource. Return False if it is not sent."""
        key = Key(kinds.namespace_of(obj), kinds.name_of(obj))
        now = self._clock()
        self._sent_at = {one: at for one, at in self._sent_at.items() if now - at < QUIET_SECONDS}
        if (key, notice) in self._sent_at:
            return False
        if not self._is_within_limit(key, now) or self._queue.full():
            self._metrics.events_dropped.inc()
            return False
        self._sent_at[key, notice] = now
        self._queue.put_nowait(self._event(obj, notice))
        return True

    def forget(self, key: Key) -> None:
        """Drop the rate limit of a deleted resource."""
        self._budgets.pop(key, None)

    async def run(self) -> None:
        """Send queued Events until cancelled. An Event that the API refuses is not retried."""
        while True:
            event = await self._queue.get()
            try:
                await self._send(event)
            except NamespaceTerminating:
                continue
            except VectorCacheError as error:
                structlog.get_logger().warning("event not sent", reason=event["reason"], error=str(error))

    def _is_within_limit(self, key: Key, now: float) -> bool:
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
    """Return the notices about the change from one status to the next."""
    found = []
    for kind in Type:
        old, new = find(before.get("conditions", ()), kind), find(after["conditions"], kind)
        if not new or (old.get("status"), old.get("reason")) == (new["status"], new["reason"]):
            continue
        notice = _notice(kind, old, new)
        if notice is not None:
            found.append(notice)
    return found


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
        return None  # the condition Ready reports the start
    if state == bad[kind]:
        return Notice(Severity.WARNING, reason, message)
    if state == good[kind] and old.get("status") == bad[kind]:
        return Notice(
            Severity.NORMAL,
            "Recovered" if kind is Type.DEGRADED else reason,
            message or "the problem is solved",
        )
    return None
