"""One pass over a resource: observe, decide, apply, until nothing is left to write. Idempotent and level-triggered.

It observes the watch cache; in the steady state it sends no request to the API.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from vectorcache_operator import kinds, names
from vectorcache_operator.apply import Applier
from vectorcache_operator.cache import WatchCache
from vectorcache_operator.changes import Changes, Resize, Result
from vectorcache_operator.decide import decide, decide_invalid
from vectorcache_operator.errors import NamespaceTerminating
from vectorcache_operator.events import Events
from vectorcache_operator.kinds import Kind, Object, is_terminating, labels_of, name_of
from vectorcache_operator.metrics import OperatorMetrics
from vectorcache_operator.names import Key
from vectorcache_operator.observed import Observed, Refusal, Surroundings
from vectorcache_operator.ring import RingShares
from vectorcache_operator.routers import Routers, RouterView
from vectorcache_operator.secrets import Secrets
from vectorcache_operator.spec import InvalidSpec, Resource, decode
from vectorcache_operator.status import ready_nodes

_CONDITION_VALUES = {"True": 1, "False": 0, "Unknown": -1}


class Reconciler:
    """Reconciles one resource per call. Calls for different resources may run at the same time."""

    def __init__(
        self,
        applier: Applier,
        cache: WatchCache,
        surroundings: Surroundings,
        secrets: Secrets,
        routers: Routers,
        events: Events,
        metrics: OperatorMetrics,
        now: Callable[[], datetime],
    ) -> None:
        self._applier = applier
        self._cache = cache
        self._surroundings = surroundings
        self._secrets = secrets
        self._routers = routers
        self._events = events
        self._metrics = metrics
        self._now = now
        self._rings = RingShares()
        self._refusals: dict[Key, Refusal] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Reconcile one resource as far as possible. Return the requeue delay in seconds, or None.

        Raises:
            ApiUnavailable: the API did not answer.
            ApiRefused: the API refused to show the Secret or to store the status.
        """
        obj = self._cache.get(kinds.VECTOR_CACHE, key.namespace, key.name)
        if obj is None or is_terminating(obj):
            self._forget(key)  # Kubernetes deletes its objects, because they have owner references
            return None
        with self._metrics.seconds.time():
            try:
                resource = decode(obj)
            except InvalidSpec as error:
                await self._publish(obj, key, decide_invalid(obj, str(error), self._now()))
                return None
            try:
                changes = await self._converge(resource, obj)
                await self._publish(obj, key, changes)
            except NamespaceTerminating:
                return None  # the resource is about to be deleted, too
        self._metrics.reconciles.labels(key.namespace, key.name).inc()
        return changes.requeue_after

    async def _converge(self, resource: Resource, obj: Object) -> Changes:
        """Write until ``decide`` wants no more writes, and return its last decision."""
        credentials = await self._read_credentials(resource)
        self._follow_routers(resource)
        results: tuple[Result, ...] = ()
        while True:
            observed = await self._observe(resource, obj, credentials, results)
            changes = decide(observed, self._now())
            if not changes.writes:
                return changes
            latest = await self._applier.run(resource.key, changes.writes)
            self._remember_refusal(resource.key, latest)
            results += latest

    async def _observe(
        self, resource: Resource, obj: Object, credentials: str | None, results: tuple[Result, ...]
    ) -> Observed:
        key = resource.key
        observed = Observed(
            resource=resource,
            status=obj.get("status") or {},
            surroundings=self._surroundings,
            objects=self._objects(key),
            pods=tuple(self._cache.of(key, kinds.POD)),
            claims=tuple(
                claim
                for claim in self._cache.of(key, kinds.CLAIM)
                if labels_of(claim).get(names.LABEL_COMPONENT) == names.NODE
            ),
            credentials=credentials,
            routers=self._routers.view(key) if resource.spec.router.replicas else RouterView(),
            refusal=self._refusals.get(key),
            results=results,
        )
        nodes = ready_nodes(resource, observed.workloads)
        return replace(observed, ring=await self._rings.of(nodes, resource.spec.ring))

    def _objects(self, key: Key) -> dict[tuple[Kind, str], Object]:
        """Return the objects of the resource and those that have a name it needs, whatever their labels say."""
        found = {}
        for kind in (*kinds.APPLIED, kinds.SERVICE_MONITOR):
            for name in (key.name, names.node(key.name), names.router(key.name)):
                live = self._cache.get(kind, key.namespace, name)
                if live is not None:
                    found[kind, name] = live
        for live in self._cache.of(key, kinds.NETWORK_POLICY):
            found[kinds.NETWORK_POLICY, name_of(live)] = live
        return found

    async def _read_credentials(self, resource: Resource) -> str | None:
        secret = resource.spec.blob.credentials_secret
        return None if secret is None else await self._secrets.digest(resource.key.namespace, secret)

    def _follow_routers(self, resource: Resource) -> None:
        if resource.spec.router.replicas:
            url = names.endpoint(resource.key, resource.spec.router.service.port)
            self._routers.follow(resource.key, url)
        else:
            self._routers.forget(resource.key)

    def _remember_refusal(self, key: Key, results: tuple[Result, ...]) -> None:
        for result in results:
            if isinstance(result.write, Resize) and result.error is not None:
                self._refusals[key] = Refusal(result.write.capacity, str(result.error), self._now())

    async def _publish(self, obj: Object, key: Key, changes: Changes) -> None:
        """Write the status if it changed, and emit the Events."""
        if changes.status is not None:
            for condition in changes.status["conditions"]:
                value = _CONDITION_VALUES[condition["status"]]
                self._metrics.conditions.labels(key.namespace, key.name, condition["type"]).set(value)
            if changes.status != (obj.get("status") or {}):
                await self._applier.write_status(key, changes.status)
        for notice in changes.notices:
            self._events.emit(obj, notice)

    def _forget(self, key: Key) -> None:
        self._routers.forget(key)
        self._events.forget(key)
        self._metrics.forget(key)
        self._refusals.pop(key, None)
