"""Conditions of a resource: their types, their reasons with a description of each, and their transitions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from vectorcache_operator.kinds import Object


class Type(StrEnum):
    """The condition types of every resource."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    STORAGE_REACHABLE = "StorageReachable"


class State(StrEnum):
    """The status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """The reasons of conditions. ``MEANINGS`` describes each."""

    SERVING = "Serving"
    STARTING = "Starting"
    NO_NODES_READY = "NoNodesReady"
    NO_ROUTERS_READY = "NoRoutersReady"
    HIBERNATED = "Hibernated"
    COMPLETE = "Complete"
    ROLLING_OUT = "RollingOut"
    SCALING = "Scaling"
    AS_EXPECTED = "AsExpected"
    INVALID_SPEC = "InvalidSpec"
    CREDENTIALS_MISSING = "CredentialsMissing"
    APPLY_REFUSED = "ApplyRefused"
    NAME_TAKEN = "NameTaken"
    IMAGE_PULL_FAILING = "ImagePullFailing"
    CONTAINER_CRASHING = "ContainerCrashing"
    CONTAINER_CONFIG_INVALID = "ContainerConfigInvalid"
    UNSCHEDULABLE = "Unschedulable"
    ROLLOUT_STALLED = "RolloutStalled"
    PODS_NOT_READY = "PodsNotReady"
    VOLUME_SHRINK_REFUSED = "VolumeShrinkRefused"
    VOLUME_EXPANSION_REFUSED = "VolumeExpansionRefused"
    REACHABLE = "Reachable"
    UNREACHABLE = "Unreachable"
    ROUTERS_SILENT = "RoutersSilent"


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row of the documentation: a condition type, its status, a reason and the description of that case."""

    type: Type
    status: State
    reason: Reason
    text: str


MEANINGS = (
    Meaning(
        Type.READY,
        State.TRUE,
        Reason.SERVING,
        "The cache serves searches: at least one router and one node are ready.",
    ),
    Meaning(
        Type.READY,
        State.FALSE,
        Reason.STARTING,
        "The cache starts for the first time and becomes ready when all nodes and routers are ready. Progressing"
        " reports the progress, and Degraded reports problems.",
    ),
    Meaning(Type.READY, State.FALSE, Reason.NO_NODES_READY, "No node is ready, so searches fail."),
    Meaning(
        Type.READY, State.FALSE, Reason.NO_ROUTERS_READY, "No router is ready, so requests are not answered."
    ),
    Meaning(Type.READY, State.FALSE, Reason.HIBERNATED, "nodes.replicas is 0."),
    Meaning(Type.PROGRESSING, State.FALSE, Reason.COMPLETE, "All pods run with the present spec."),
    Meaning(Type.PROGRESSING, State.FALSE, Reason.HIBERNATED, "nodes.replicas is 0, and no node is running."),
    Meaning(
        Type.PROGRESSING, State.TRUE, Reason.STARTING, "Nodes and routers are starting for the first time."
    ),
    Meaning(
        Type.PROGRESSING,
        State.TRUE,
        Reason.ROLLING_OUT,
        "Pods are being replaced one at a time, or a pod has restarted.",
    ),
    Meaning(Type.PROGRESSING, State.TRUE, Reason.SCALING, "Nodes or routers are being added or removed."),
    Meaning(Type.DEGRADED, State.FALSE, Reason.AS_EXPECTED, "The operator found no problem."),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.INVALID_SPEC,
        "The spec is invalid; the message names the field. The existing pods keep running with the previous spec.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.CREDENTIALS_MISSING,
        "The Secret that blob.credentialsSecret names does not exist or is empty. Running pods continue; new pods"
        " start once it exists.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.NAME_TAKEN,
        "An object with a name that the resource needs exists and does not belong to the resource. Delete the object,"
        " or rename the resource.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.APPLY_REFUSED,
        "The API server rejects an object, for example because of a quota, an admission policy, or an invalid field in"
        " scheduling or resources. The operator retries.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.IMAGE_PULL_FAILING,
        "An image cannot be pulled. The rollout stops, and the remaining pods keep running. Specify an image that"
        " exists, or the previous one.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.CONTAINER_CRASHING,
        "A container crashes repeatedly. `kubectl logs --previous` of the pod shows the reason.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.CONTAINER_CONFIG_INVALID,
        "A container cannot be created, usually because a Secret or a key in it does not exist.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.UNSCHEDULABLE,
        "No Kubernetes node can run a pod because of its resources, taints, affinity, or a volume in another zone.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.ROLLOUT_STALLED,
        "A rollout has not finished in 10 minutes, and no pod reports a reason. `kubectl describe` the StatefulSet and"
        " the Deployment.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.PODS_NOT_READY,
        "A pod has not been ready for 5 minutes. Its logs and its /readyz show the reason.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.VOLUME_SHRINK_REFUSED,
        "nodes.disk.capacity is less than the capacity of the volumes, which cannot shrink. Set it to their capacity or"
        " more.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.VOLUME_EXPANSION_REFUSED,
        "nodes.disk.capacity is more than the capacity of the volumes, and the API server refuses to expand them,"
        " usually because of their storage class. The operator retries.",
    ),
    Meaning(Type.STORAGE_REACHABLE, State.TRUE, Reason.REACHABLE, "The routers can reach the blob store."),
    Meaning(
        Type.STORAGE_REACHABLE,
        State.FALSE,
        Reason.UNREACHABLE,
        "A router cannot reach the blob store. Cached data is still served. Check the blob store, the credentials and"
        " the network.",
    ),
    Meaning(
        Type.STORAGE_REACHABLE,
        State.UNKNOWN,
        Reason.ROUTERS_SILENT,
        "No router answers the operator: none is running yet, or a NetworkPolicy blocks the operator.",
    ),
)

SEVERITY = [
    meaning.reason for meaning in MEANINGS if meaning.type == Type.DEGRADED and meaning.status == State.TRUE
]
"""Reasons of Degraded. If there are several issues, the condition has the reason that comes first here."""


@dataclass(frozen=True, slots=True)
class Condition:
    """The present state of one condition."""

    type: Type
    status: State
    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem of a resource."""

    reason: Reason
    message: str


MAX_MESSAGE = 2000


def degraded(issues: Iterable[Issue]) -> Condition:
    """Return the Degraded condition with the most severe reason and all messages."""
    ordered = sorted(issues, key=lambda one: SEVERITY.index(one.reason))
    if not ordered:
        return Condition(Type.DEGRADED, State.FALSE, Reason.AS_EXPECTED)
    message = "; ".join(dict.fromkeys(one.message for one in ordered))
    return Condition(Type.DEGRADED, State.TRUE, ordered[0].reason, message)


def updated(
    previous: Iterable[Object], conditions: Iterable[Condition], generation: int, now: datetime
) -> list[Object]:
    """Return the conditions in the form of the status. ``lastTransitionTime`` changes only with its status."""
    known = {one.get("type"): one for one in previous}
    return [_updated(known.get(one.type.value), one, generation, now) for one in conditions]


def find(conditions: Iterable[Object], kind: Type) -> Object:
    """Return the condition of the type, or an empty object."""
    return next((one for one in conditions if one.get("type") == kind), {})


def timestamp(now: datetime) -> str:
    """Return the time in the format of Kubernetes: whole seconds, UTC."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """Parse a time in the format of Kubernetes."""
    return datetime.fromisoformat(text)


def _updated(known: Object | None, one: Condition, generation: int, now: datetime) -> Object:
    moved = known is None or known.get("status") != one.status
    since = timestamp(now) if known is None or moved else known["lastTransitionTime"]
    return {
        "type": one.type.value,
        "status": one.status.value,
        "reason": one.reason.value,
        "message": one.message[:MAX_MESSAGE],
        "observedGeneration": generation,
        "lastTransitionTime": since,
    }
