"""Reconcile: observe, plan, apply, tell. One idempotent function, whatever it was that happened.

It observes in the watch cache; in the steady state it asks the API for nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from vectorcache_operator import kinds, names
from vectorcache_operator.apply import Applier, NameTaken, Outcome
from vectorcache_operator.cache import WatchCache
from vectorcache_operator.claims import DiskPlan, plan_disks
from vectorcache_operator.conditions import Issue, Reason
from vectorcache_operator.errors import ApiRefused, NamespaceTerminating
from vectorcache_operator.events import Events, Notice, Severity, notices
from vectorcache_operator.kinds import Object, is_terminating, kind_of, labels_of, name_of
from vectorcache_operator.kube import Kube
from vectorcache_operator.metrics import OperatorMetrics
from vectorcache_operator.names import Key
from vectorcache_operator.plan import Facts, Images, plan
from vectorcache_operator.pod_problems import pod_problems
from vectorcache_operator.ring import RingShares
from vectorcache_operator.routers import Routers, RouterView
from vectorcache_operator.secrets import Secrets
from vectorcache_operator.spec import InvalidSpec, Resource, decode
from vectorcache_operator.status import Seen, ready_nodes, status_of, status_of_invalid

MISSING_SECRET_SECONDS = 5.0
LEAVING_SECONDS = 5.0
"""Before looking again at an object that is being deleted, should its removal go unnoticed."""
REFUSED_SECONDS = 60.0
"""Before asking again for what the API refused."""

_CONDITION_VALUES = {"True": 1, "False": 0, "Unknown": -1}


@dataclass(slots=True)
class Surroundings:
    """What is the same for all resources."""

    images: Images
    operator_namespace: str
    service_monitors: bool = False


@dataclass(slots=True)
class _Pass:
    """One reconcile of one resource: what it found wrong, and when it wants to look again."""

    issues: list[Issue] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    look_again: float | None = None

    def again_in(self, seconds: float | None) -> None:
        if seconds is not None:
            self.look_again = seconds if self.look_again is None else min(self.look_again, seconds)


class Reconciler:
    """Reconciles one resource at a time per call; calls for different resources may run at once."""

    def __init__(
        self,
        kube: Kube,
        cache: WatchCache,
        surroundings: Surroundings,
        secrets: Secrets,
        routers: Routers,
        events: Events,
        metrics: OperatorMetrics,
        now: Callable[[], datetime],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._applier = Applier(kube, cache)
        self._surroundings = surroundings
        self._secrets = secrets
        self._routers = routers
        self._events = events
        self._metrics = metrics
        self._now = now
        self._rings = RingShares()
        self._refusals: dict[Key, tuple[str, str]] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Bring a resource about as far as can be; returns after how many seconds to look again, if at all.

        Raises:
            ApiUnavailable: the API did not answer; try again.
        """
        obj = self._cache.get(kinds.VECTOR_CACHE, key.namespace, key.name)
        if obj is None or is_terminating(obj):
            self._forget(key)  # what it owned goes with it, by its owner references
            return None
        with self._metrics.seconds.time():
            try:
                resource = decode(obj)
            except InvalidSpec as error:
                await self._tell_invalid(obj, str(error))
                return None
            this = _Pass()
            try:
                await self._reconcile(resource, this)
                await self._tell(resource, obj, this)
            except NamespaceTerminating:
                return None  # so does the resource, any moment now
        self._metrics.reconciles.labels(key.namespace, key.name).inc()
        return this.look_again

    async def _reconcile(self, resource: Resource, this: _Pass) -> None:
        """Everything but the status."""
        credentials, may_start = await self._credentials(resource, this)
        disks = await self._disks(resource, this)
        facts = Facts(
            images=self._surroundings.images,
            disk=disks.capacity,
            credentials=credentials,
            operator_namespace=self._surroundings.operator_namespace,
            service_monitors=self._surroundings.service_monitors,
        )
        for one in plan(resource, facts):
            if kind_of(one) == kinds.SERVICE_ACCOUNT:
                await self._ensure(resource, one, this)
        account = self._cache.get(kinds.SERVICE_ACCOUNT, resource.key.namespace, names.router(resource.name))
        uid = None if account is None or is_terminating(account) else account["metadata"]["uid"]
        wanted = plan(resource, replace(facts, router_account=uid))
        for one in wanted:
            kind = kind_of(one)
            if kind == kinds.SERVICE_ACCOUNT or (kind == kinds.DEPLOYMENT and uid is None):
                continue  # without an account the routers stay as they are; that it comes is an event
            if kind in (kinds.STATEFUL_SET, kinds.DEPLOYMENT) and not may_start:
                continue
            if kind == kinds.STATEFUL_SET and disks.replace:
                this.again_in(LEAVING_SECONDS)  # its removal is an event, too
                continue
            await self._ensure(resource, one, this)
        await self._remove_unwanted(resource, wanted, this)
        if resource.spec.router.replicas:
            self._routers.follow(
                resource.key, names.endpoint(resource.key, resource.spec.router.service.port)
            )
        else:
            self._routers.forget(resource.key)

    async def _credentials(self, resource: Resource, this: _Pass) -> tuple[str | None, bool]:
        """The hash of the credentials, and whether workloads may be made: not before their Secret is there.

        Where it goes later, its last hash stays, so that nothing rolls.
        """
        secret = resource.spec.blob.credentials_secret
        if secret is None:
            return None, True
        digest = await self._secrets.digest(resource.key.namespace, secret)
        if digest is not None:
            return digest, True
        text = f"Secret {secret} of blob.credentialsSecret does not exist, or is empty"
        this.issues.append(Issue(Reason.CREDENTIALS_MISSING, text))
        this.again_in(MISSING_SECRET_SECONDS)
        live = self._stateful_set(resource)
        last = live["spec"]["template"]["metadata"].get("annotations", {}) if live else {}
        digest = last.get(names.ANNOTATION_CREDENTIALS)
        return digest, digest is not None

    async def _disks(self, resource: Resource, this: _Pass) -> DiskPlan:
        """Let volumes grow; the StatefulSet is deleted (not its pods) where it must be made anew."""
        wanted = resource.spec.disk
        asked, refusal = self._refusals.get(resource.key, ("", ""))
        disks = self._plan_disks(resource, wanted, refusal if asked == wanted else None)
        try:
            for claim in disks.grow:
                await self._grow(resource, claim, wanted)
        except ApiRefused as error:
            self._refusals[resource.key] = wanted, str(error)
            this.again_in(REFUSED_SECONDS)
            disks = self._plan_disks(resource, wanted, str(error))
        else:
            if disks.grow:
                text = f"{len(disks.grow)} volumes grow to {wanted}"
                this.notices.append(Notice(Severity.NORMAL, "VolumesGrow", text))
        if disks.issue is None:
            self._refusals.pop(resource.key, None)
        else:
            this.issues.append(disks.issue)
        stateful_set = self._stateful_set(resource)
        if disks.replace and stateful_set is not None and not is_terminating(stateful_set):
            await self._applier.remove(stateful_set, kinds.STATEFUL_SET, "Orphan")
            self._count_write(resource, kinds.STATEFUL_SET.name)
        return disks

    def _plan_disks(self, resource: Resource, wanted: str, refusal: str | None) -> DiskPlan:
        claims = [
            claim
            for claim in self._cache.of(resource.key, kinds.CLAIM)
            if labels_of(claim).get(names.LABEL_COMPONENT) == names.NODE
        ]
        return plan_disks(wanted, self._stateful_set(resource), claims, refusal)

    async def _grow(self, resource: Resource, claim: Object, size: str) -> None:
        patch = {"spec": {"resources": {"requests": {"storage": size}}}}
        grown = await self._kube.merge(kinds.CLAIM, resource.key.namespace, name_of(claim), patch)
        self._cache.put(kinds.CLAIM, grown)
        self._count_write(resource, kinds.CLAIM.name)

    async def _ensure(self, resource: Resource, wanted: Object, this: _Pass) -> None:
        what = f"{wanted['kind']} {name_of(wanted)}"
        try:
            outcome = await self._applier.ensure(wanted)
        except NameTaken as error:
            this.issues.append(Issue(Reason.NAME_TAKEN, str(error)))
            this.again_in(REFUSED_SECONDS)
            return
        except NamespaceTerminating:
            raise
        except ApiRefused as error:
            this.issues.append(Issue(Reason.APPLY_REFUSED, f"{what}: {error}"))
            this.again_in(REFUSED_SECONDS)
            return
        if outcome is Outcome.LEAVING:
            this.again_in(LEAVING_SECONDS)
        elif outcome is not Outcome.SAME:
            self._count_write(resource, wanted["kind"])
            structlog.get_logger().info(
                "applied", resource=str(resource.key), what=what, outcome=outcome.value
            )
        if outcome is Outcome.REPAIRED:
            text = f"{what} was changed by somebody else; it is as it should be again"
            this.notices.append(Notice(Severity.NORMAL, "Repaired", text))

    async def _remove_unwanted(self, resource: Resource, wanted: list[Object], this: _Pass) -> None:
        """NetworkPolicies that are no longer asked for; nothing else of a resource goes while it stays."""
        keep = {name_of(one) for one in wanted if kind_of(one) == kinds.NETWORK_POLICY}
        for live in self._cache.of(resource.key, kinds.NETWORK_POLICY):
            if name_of(live) not in keep and not is_terminating(live) and _is_owned(live, resource):
                try:
                    await self._applier.remove(live, kinds.NETWORK_POLICY)
                except ApiRefused as error:
                    this.issues.append(Issue(Reason.APPLY_REFUSED, f"{name_of(live)}: {error}"))

    async def _tell(self, resource: Resource, obj: Object, this: _Pass) -> None:
        """Status and events."""
        now = self._now()
        pods = self._cache.of(resource.key, kinds.POD)
        found = pod_problems(pods, now)
        this.again_in(found.look_again)
        seen = Seen(
            stateful_set=self._stateful_set(resource),
            deployment=self._cache.get(kinds.DEPLOYMENT, resource.key.namespace, names.router(resource.name)),
            node_pods=[pod for pod in pods if labels_of(pod).get(names.LABEL_COMPONENT) == names.NODE],
            routers=self._routers.view(resource.key) if resource.spec.router.replicas else RouterView(),
        )
        ring = await self._rings.of(ready_nodes(resource, seen), resource.spec.ring)
        issues = [*this.issues, *found.issues]
        before = obj.get("status") or {}
        await self._write_status(obj, status_of(resource, seen, ring, issues, before, now), this.notices)

    async def _tell_invalid(self, obj: Object, message: str) -> None:
        generation = obj["metadata"].get("generation", 1)
        before = obj.get("status") or {}
        await self._write_status(obj, status_of_invalid(generation, message, before, self._now()), [])

    async def _write_status(self, obj: Object, status: Object, more: list[Notice]) -> None:
        key, before = Key(kinds.namespace_of(obj), name_of(obj)), obj.get("status") or {}
        for condition in status["conditions"]:
            value = _CONDITION_VALUES[condition["status"]]
            self._metrics.conditions.labels(key.namespace, key.name, condition["type"]).set(value)
        if status != before:
            body = {
                "apiVersion": names.API_VERSION,
                "kind": kinds.VECTOR_CACHE.name,
                "metadata": {"name": key.name, "namespace": key.namespace},
                "status": status,
            }
            self._cache.put(
                kinds.VECTOR_CACHE, await self._kube.apply(body, force=True, subresource="status")
            )
            self._metrics.writes.labels(key.namespace, key.name, "status").inc()
        for notice in (*more, *notices(before, status)):
            self._events.tell(obj, notice)

    def _stateful_set(self, resource: Resource) -> Object | None:
        return self._cache.get(kinds.STATEFUL_SET, resource.key.namespace, names.node(resource.name))

    def _count_write(self, resource: Resource, kind: str) -> None:
        self._metrics.writes.labels(resource.key.namespace, resource.name, kind).inc()

    def _forget(self, key: Key) -> None:
        self._routers.forget(key)
        self._events.forget(key)
        self._metrics.forget(key)
        self._refusals.pop(key, None)


def _is_owned(live: Object, resource: Resource) -> bool:
    references = live["metadata"].get("ownerReferences") or ()
    return any(one.get("uid") == resource.uid for one in references)
