"""The resync: a periodic round that reconciles every resource and compares the watch cache with the API.

Watch events trigger all other reconciles. The resync covers the cases without an event: changes of Secrets (a watch
would need permission to read all Secrets), and watches that silently missed changes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from vectorcache.errors import VectorCacheError
from vectorcache_operator import names
from vectorcache_operator.cache import WatchCache
from vectorcache_operator.kinds import (
    SERVICE_MONITOR,
    VECTOR_CACHE,
    Kind,
    Object,
    name_of,
    namespace_of,
    version_of,
)
from vectorcache_operator.kube import Kube
from vectorcache_operator.metrics import OperatorMetrics
from vectorcache_operator.names import Key
from vectorcache_operator.observed import Surroundings
from vectorcache_operator.secrets import Secrets

JITTER = 0.1
SPREAD = 0.25
"""Fraction of the interval over which the reconciles of a round are spread."""
FILL_CHECK_SECONDS, CHECKS_PER_LIST = 0.1, 20
"""At the start: interval of the checks whether the watches delivered the listed objects, and checks per list."""
RETRY_SECONDS = 2.0
SECOND_CHECK_SECONDS = 10.0
"""Time that the watches have to deliver an object that a list contains and the cache lacks."""


@dataclass(slots=True)
class Resync:
    """Runs the rounds.

    Attributes:
        behind: names of objects whose changes the watches missed; empty if there are none.
        filled: set when the watch cache is complete after the start. No resource is reconciled before.
        last_round: time at which the last round ended.
    """

    kube: Kube
    cache: WatchCache
    secrets: Secrets
    surroundings: Surroundings
    metrics: OperatorMetrics
    changed: Callable[[Key, float], None]
    clock: Callable[[], float]
    rng: random.Random
    interval: float
    kinds: Sequence[Kind]
    namespaces: Sequence[str]
    behind: str = ""
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    last_round: float = field(init=False)

    def __post_init__(self) -> None:
        self.last_round = self.clock()

    async def run(self) -> None:
        """Wait until the watch cache is complete, then run rounds until cancelled."""
        await self._wait_until_filled()
        while True:
            await asyncio.sleep(self.interval * self.rng.uniform(1 - JITTER, 1 + JITTER))
            await self.round()

    async def round(self) -> None:
        """Run one round. If the API does not answer, ``behind`` keeps its value."""
        self.secrets.drop_expired()
        for key in self.cache.keys():  # noqa: SIM118 - a method, not a mapping's
            self.changed(key, self.rng.uniform(0.0, SPREAD * self.interval))
        try:
            await self._detect_service_monitors()
            self.behind = await self._compare()
        except VectorCacheError as error:
            structlog.get_logger().warning("resync failed", error=str(error))
        self.metrics.cached_objects.set(len(self.cache))
        self.last_round = self.clock()

    async def _wait_until_filled(self) -> None:
        """Wait until the cache contains all listed objects. The list is repeated, because objects may be deleted."""
        while not self.filled.is_set():
            try:
                missing = await self._missing()
                for _ in range(CHECKS_PER_LIST):
                    missing = [one for one in missing if self._is_missing(*one)]
                    if not missing:
                        self.filled.set()
                        return
                    await asyncio.sleep(FILL_CHECK_SECONDS)
            except VectorCacheError as error:
                structlog.get_logger().warning("waiting for the API", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _detect_service_monitors(self) -> None:
        """Detect the kind ServiceMonitor. In given namespaces, kopf does not detect new kinds, so nothing changes."""
        if not self.namespaces:
            self.surroundings.service_monitors = await self.kube.serves(SERVICE_MONITOR)

    async def _compare(self) -> str:
        """Compare every kind. Return the names of objects that are still missing at a second check."""
        missing = await self._missing()
        if not missing:
            return ""
        await asyncio.sleep(SECOND_CHECK_SECONDS)
        late = [
            f"{kind} {namespace_of(one)}/{name_of(one)}"
            for kind, one in missing
            if self._is_missing(kind, one)
        ]
        if late:
            structlog.get_logger().error("the watches missed changes", missing=late[:10], count=len(late))
        return ", ".join(late[:3])

    async def _missing(self) -> list[tuple[Kind, Object]]:
        """Return the objects that the API lists and the cache lacks."""
        missing = []
        for kind in self._present_kinds():
            for namespace in self.namespaces or (None,):
                missing += [(kind, one) for one in await self._compare_kind(kind, namespace)]
        return missing

    def _present_kinds(self) -> Sequence[Kind]:
        monitors = self.surroundings.service_monitors
        return [kind for kind in self.kinds if kind != SERVICE_MONITOR or monitors]

    async def _compare_kind(self, kind: Kind, namespace: str | None) -> list[Object]:
        """Remove deleted objects from the cache. Return the objects that it lacks or has in an older version."""
        selector = "" if kind == VECTOR_CACHE else names.OWNED_SELECTOR
        answer = await self.kube.list_metadata(kind, namespace, selector)
        listed, as_of = answer.get("items") or [], version_of(answer)
        uids = {one["metadata"]["uid"] for one in listed}
        for live in list(self.cache.all(kind)):
            inside = namespace is None or namespace_of(live) == namespace
            if inside and version_of(live) <= as_of and live["metadata"]["uid"] not in uids:
                self.metrics.cache_repairs.inc()
                for key in self.cache.remove(kind, live):
                    self.changed(key, 0.0)
        return [one for one in listed if self._is_missing(kind, one)]

    def _is_missing(self, kind: Kind, listed: Object) -> bool:
        known = self.cache.get(kind, namespace_of(listed), name_of(listed))
        return known is None or version_of(known) < version_of(listed)
