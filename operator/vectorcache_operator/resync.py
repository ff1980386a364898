"""The slow round: Secrets are read again, and the watch cache is compared with the API.

Events bring everything else about. The round is there for what has no event: a Secret (watching Secrets would need a
right to all of them), and a watch that lost something without noticing.
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
from vectorcache_operator.reconcile import Surroundings
from vectorcache_operator.secrets import Secrets

JITTER = 0.1
SPREAD = 0.25
"""The share of a round over which its reconciles are spread."""
FIRST_LOOK_SECONDS, LOOKS_PER_LIST = 0.1, 20
"""Between looks at whether the watches have brought what was listed at the start; then it is listed anew."""
RETRY_SECONDS = 2.0
SECOND_LOOK_SECONDS = 10.0
"""What a list has and the cache has not gets that long to arrive by watch."""


@dataclass(slots=True)
class Resync:
    """Rounds, until cancelled.

    Attributes:
        behind: what the watches are missing; empty while all is well.
        filled: set when the watches have told everything that there is, from which on it can be acted upon.
        last_round: when the last round ended.
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
        """Wait for the watches' first fill, and go on for ever."""
        await self._wait_until_filled()
        while True:
            await asyncio.sleep(self.interval * self.rng.uniform(1 - JITTER, 1 + JITTER))
            await self.round()

    async def round(self) -> None:
        """One round. That the API does not answer is no fault of the watches."""
        self.secrets.drop_old()
        for key in self.cache.keys():  # noqa: SIM118 - a method, not a mapping's
            self.changed(key, self.rng.uniform(0.0, SPREAD * self.interval))
        try:
            await self._look_for_monitors()
            self.behind = await self._compare()
        except VectorCacheError as error:
            structlog.get_logger().warning("resync failed", error=str(error))
        self.metrics.cached_objects.set(len(self.cache))
        self.last_round = self.clock()

    async def _wait_until_filled(self) -> None:
        """Until the cache has what a list had; more may change meanwhile, and some of it may go."""
        while not self.filled.is_set():
            try:
                missing = await self._missing()
                for _ in range(LOOKS_PER_LIST):
                    missing = [one for one in missing if self._is_late(*one)]
                    if not missing:
                        self.filled.set()
                        return
                    await asyncio.sleep(FIRST_LOOK_SECONDS)
            except VectorCacheError as error:
                structlog.get_logger().warning("waiting for the API", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _look_for_monitors(self) -> None:
        """In one namespace only, kopf does not see a new kind; then it is as it was at the start."""
        if not self.namespaces:
            self.surroundings.service_monitors = await self.kube.serves(SERVICE_MONITOR)

    async def _compare(self) -> str:
        """Compare every kind; what is missing gets a second look. Returns what is still missing."""
        missing = await self._missing()
        if not missing:
            return ""
        await asyncio.sleep(SECOND_LOOK_SECONDS)
        late = [
            f"{kind} {namespace_of(one)}/{name_of(one)}" for kind, one in missing if self._is_late(kind, one)
        ]
        if late:
            structlog.get_logger().error("the watches miss changes", missing=late[:10], count=len(late))
        return ", ".join(late[:3])

    async def _missing(self) -> list[tuple[Kind, Object]]:
        """What the API lists and the cache lacks."""
        missing = []
        for kind in self._present_kinds():
            for namespace in self.namespaces or (None,):
                missing += [(kind, one) for one in await self._compare_kind(kind, namespace)]
        return missing

    def _present_kinds(self) -> Sequence[Kind]:
        monitors = self.surroundings.service_monitors
        return [kind for kind in self.kinds if kind != SERVICE_MONITOR or monitors]

    async def _compare_kind(self, kind: Kind, namespace: str | None) -> list[Object]:
        """Drop what is gone from the cache; returns what the cache lacks, or has in an older version."""
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
        return [one for one in listed if self._is_late(kind, one)]

    def _is_late(self, kind: Kind, listed: Object) -> bool:
        known = self.cache.get(kind, namespace_of(listed), name_of(listed))
        return known is None or version_of(known) < version_of(listed)
