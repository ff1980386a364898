"""Compute the status of a resource. Pure; the ring is passed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from vectorcache_operator import conditions, names
from vectorcache_operator.conditions import Condition, Issue, Reason, State, Type
from vectorcache_operator.kinds import Object, is_terminating, labels_of, name_of
from vectorcache_operator.pod_problems import is_ready
from vectorcache_operator.routers import RouterView
from vectorcache_operator.spec import Resource

STALLED_SECONDS = 600.0
"""A rollout that takes longer is stalled, unless a pod reports a problem."""

_REVISION = "controller-revision-hash"


@dataclass(frozen=True, slots=True)
class Workloads:
    """Live workloads of a resource. While ``routers`` is None, the status keeps the last report of the routers."""

    stateful_set: Object | None
    deployment: Object | None
    node_pods: Sequence[Object]
    routers: RouterView | None


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of nodes or routers. ``settled`` means that the rollout is complete."""

    desired: int
    existing: int
    ready: int
    updated: int
    settled: bool

    @property
    def scaling(self) -> bool:
        """Whether pods are being added or removed, not replaced."""
        return self.existing != self.desired


def nodes_progress(resource: Resource, workloads: Workloads) -> Progress:
    """Return the progress of the nodes. Pods are counted, because the StatefulSet's status lags behind."""
    desired = resource.spec.nodes.replicas
    present = [pod for pod in workloads.node_pods if not is_terminating(pod)]
    ready = len(ready_nodes(resource, workloads))
    status = (workloads.stateful_set or {}).get("status", {})
    revision = status.get("updateRevision")
    updated = sum(labels_of(pod).get(_REVISION) == revision for pod in present)
    observed = _is_observed(workloads.stateful_set)
    settled = observed and len(workloads.node_pods) == ready == updated == desired
    return Progress(desired, len(workloads.node_pods), ready, updated, settled)


def routers_progress(resource: Resource, workloads: Workloads) -> Progress:
    """Return the progress of the routers."""
    desired = resource.spec.router.replicas
    status = (workloads.deployment or {}).get("status", {})
    existing, ready, updated = (
        status.get(name, 0) for name in ("replicas", "readyReplicas", "updatedReplicas")
    )
    settled = _is_observed(workloads.deployment) and existing == ready == updated == desired
    return Progress(desired, existing, ready, updated, settled)


def ready_nodes(resource: Resource, workloads: Workloads) -> list[str]:
    """Return the names of the nodes on the routers' ring."""
    wanted = {names.pod(resource.name, ordinal) for ordinal in range(resource.spec.nodes.replicas)}
    return [name_of(pod) for pod in workloads.node_pods if is_ready(pod) and name_of(pod) in wanted]


def status_of(
    resource: Resource,
    workloads: Workloads,
    ring: Object,
    issues: Sequence[Issue],
    before: Object,
    now: datetime,
) -> Object:
    """Return the whole status. ``before`` is the present one."""
    nodes, routers = nodes_progress(resource, workloads), routers_progress(resource, workloads)
    previous = before.get("conditions") or []
    first_start = _is_first_start(previous)
    progressing = _progressing(nodes, routers, first_start=first_start)
    stalled = _stalled(progressing, previous, issues, nodes, routers, now)
    found = [
        _ready(nodes, routers, first_start=first_start),
        progressing,
        conditions.degraded([*issues, *stalled]),
        _storage(workloads.routers, previous),
    ]
    return {
        "observedGeneration": resource.generation,
        "conditions": conditions.updated(previous, found, resource.generation, now),
        "replicas": len(workloads.node_pods),
        "selector": names.selector_text(resource.name, names.NODE),
        "nodes": {
            "desired": nodes.desired,
            "ready": nodes.ready,
            "updated": nodes.updated,
            "summary": f"{nodes.ready}/{nodes.desired}",
        },
        "router": {"desired": routers.desired, "ready": routers.ready},
        "endpoint": names.endpoint(resource.key, resource.spec.router.service.port),
        "ring": ring,
        "collections": workloads.routers.collection_list()
        if workloads.routers
        else before.get("collections", []),
    }


def status_of_invalid(generation: int, message: str, before: Object, now: datetime) -> Object:
    """Return the present status with the condition that the spec is invalid."""
    issue = conditions.degraded([Issue(Reason.INVALID_SPEC, message)])
    previous = before.get("conditions") or []
    others = [one for one in previous if one.get("type") != Type.DEGRADED]
    kept = conditions.updated(previous, [issue], generation, now)
    return before | {"observedGeneration": generation, "conditions": [*others, *kept]}


def _is_first_start(previous: Sequence[Object]) -> bool:
    """Return whether the cache has not been ready since it was created or hibernated. Ready then requires all pods."""
    reason = conditions.find(previous, Type.READY).get("reason")
    return reason in (None, Reason.STARTING, Reason.HIBERNATED)


def _ready(nodes: Progress, routers: Progress, *, first_start: bool) -> Condition:
    text = (
        f"{nodes.ready} of {nodes.desired} nodes and {routers.ready} of {routers.desired} routers are ready"
    )
    if nodes.desired == 0:
        return Condition(Type.READY, State.FALSE, Reason.HIBERNATED, "nodes.replicas is 0")
    if first_start and not (nodes.settled and routers.settled and routers.desired):
        return Condition(Type.READY, State.FALSE, Reason.STARTING, text)
    if nodes.ready == 0:
        return Condition(Type.READY, State.FALSE, Reason.NO_NODES_READY, text)
    if routers.ready == 0:
        return Condition(Type.READY, State.FALSE, Reason.NO_ROUTERS_READY, text)
    return Condition(Type.READY, State.TRUE, Reason.SERVING, text)


def _progressing(nodes: Progress, routers: Progress, *, first_start: bool) -> Condition:
    if nodes.settled and routers.settled:
        reason = Reason.COMPLETE if nodes.desired else Reason.HIBERNATED
        return Condition(Type.PROGRESSING, State.FALSE, reason)
    text = (
        f"nodes: {nodes.ready} ready and {nodes.updated} up to date of {nodes.desired}; "
        f"routers: {routers.ready} ready and {routers.updated} up to date of {routers.desired}"
    )
    if first_start and nodes.desired:
        return Condition(Type.PROGRESSING, State.TRUE, Reason.STARTING, text)
    reason = Reason.SCALING if nodes.scaling or routers.scaling else Reason.ROLLING_OUT
    return Condition(Type.PROGRESSING, State.TRUE, reason, text)


def _stalled(
    progressing: Condition,
    previous: Sequence[Object],
    issues: Sequence[Issue],
    nodes: Progress,
    routers: Progress,
    now: datetime,
) -> list[Issue]:
    """Return the issue of a rollout that takes too long although nothing else is wrong, if there is one."""
    before = conditions.find(previous, Type.PROGRESSING)
    if issues or progressing.status != State.TRUE or before.get("status") != State.TRUE:
        return []
    since = before["lastTransitionTime"]
    if (now - conditions.moment(since)).total_seconds() < STALLED_SECONDS:
        return []
    late = [name for name, one in (("nodes", nodes), ("routers", routers)) if not one.settled]
    return [
        Issue(Reason.ROLLOUT_STALLED, f"{' and '.join(late)} have not completed their rollout since {since}")
    ]


def _storage(view: RouterView | None, previous: Sequence[Object]) -> Condition:
    known = conditions.find(previous, Type.STORAGE_REACHABLE)
    if view is None and known.get("reason") in set(Reason):
        return Condition(
            Type.STORAGE_REACHABLE, State(known["status"]), Reason(known["reason"]), known["message"]
        )
    if view is None or view.storage is None:
        return Condition(Type.STORAGE_REACHABLE, State.UNKNOWN, Reason.ROUTERS_SILENT, "no router answers")
    if not view.storage:
        return Condition(Type.STORAGE_REACHABLE, State.FALSE, Reason.UNREACHABLE, view.problem)
    return Condition(Type.STORAGE_REACHABLE, State.TRUE, Reason.REACHABLE)


def _is_observed(workload: Object | None) -> bool:
    """Return whether the workload's controller has observed its newest spec."""
    if workload is None or is_terminating(workload):
        return False
    observed: int = workload.get("status", {}).get("observedGeneration", 0)
    written: int = workload["metadata"].get("generation", 0)
    return observed >= written
