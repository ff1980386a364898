"""Conditions of a resource: their types, every reason with what it means, and how they change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from vectorcache_operator.kinds import Object


class Type(StrEnum):
    """The conditions that every resource has."""

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
    """Why; ``MEANINGS`` says what each means."""

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
    """One row of the documentation: under which condition and status a reason appears, and what it means."""

    type: Type
    status: State
    reason: Reason
    text: str


MEANINGS = (
    Meaning(
        Type.READY,
        State.TRUE,
        Reason.SERVING,
        "Searches are answered: a router and a node at least are ready.",
    ),
    Meaning(
        Type.READY,
        State.FALSE,
        Reason.STARTING,
        "The first start: it becomes ready when all nodes and routers are. Progressing and Degraded say how it goes.",
    ),
    Meaning(Type.READY, State.FALSE, Reason.NO_NODES_READY, "No node is ready; nothing can be searched."),
    Meaning(Type.READY, State.FALSE, Reason.NO_ROUTERS_READY, "No router is ready; nothing answers."),
    Meaning(Type.READY, State.FALSE, Reason.HIBERNATED, "nodes.replicas is 0, as asked for."),
    Meaning(Type.PROGRESSING, State.FALSE, Reason.COMPLETE, "What runs is what is asked for."),
    Meaning(
        Type.PROGRESSING, State.FALSE, Reason.HIBERNATED, "nodes.replicas is 0, and no node runs any more."
    ),
    Meaning(Type.PROGRESSING, State.TRUE, Reason.STARTING, "Nodes and routers start for the first time."),
    Meaning(
        Type.PROGRESSING,
        State.TRUE,
        Reason.ROLLING_OUT,
        "Pods are being replaced, one at a time, or one restarts by itself.",
    ),
    Meaning(Type.PROGRESSING, State.TRUE, Reason.SCALING, "Nodes or routers come or go."),
    Meaning(Type.DEGRADED, State.FALSE, Reason.AS_EXPECTED, "Nothing is wrong."),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.INVALID_SPEC,
        "The spec cannot be used; what ran before runs on. The message says which field.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.CREDENTIALS_MISSING,
        "The Secret blob.credentialsSecret does not exist, or is empty. Pods that run go on; new ones wait for it.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.NAME_TAKEN,
        "An object of a name that is needed exists and belongs to somebody else. Remove it, or rename the resource.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.APPLY_REFUSED,
        "The API refuses an object: a quota, a policy, a field of scheduling or resources that is not valid. It is"
        " tried again.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.IMAGE_PULL_FAILING,
        "An image cannot be pulled. The rollout stands still, and the pods before it run on; give an image that"
        " exists, or the old one.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.CONTAINER_CRASHING,
        "A container ends again and again; `kubectl logs --previous` of the pod says why.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.CONTAINER_CONFIG_INVALID,
        "A container cannot be created: mostly a Secret or key that does not exist.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.UNSCHEDULABLE,
        "No Kubernetes node takes a pod: resources, taints, affinity, or a volume of another zone.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.ROLLOUT_STALLED,
        "Pods have been missing for long and none says why; `kubectl describe` the StatefulSet and the Deployment.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.PODS_NOT_READY,
        "A pod runs but has not been ready for long; its logs and its /readyz say why.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.VOLUME_SHRINK_REFUSED,
        "nodes.disk.capacity is less than the volumes have; they keep their size. Ask for that size or more.",
    ),
    Meaning(
        Type.DEGRADED,
        State.TRUE,
        Reason.VOLUME_EXPANSION_REFUSED,
        "nodes.disk.capacity is more than the volumes have, and their storage class does not let them grow.",
    ),
    Meaning(Type.STORAGE_REACHABLE, State.TRUE, Reason.REACHABLE, "The routers reach the blob store."),
    Meaning(
        Type.STORAGE_REACHABLE,
        State.FALSE,
        Reason.UNREACHABLE,
        "A router does not reach the blob store. What is cached is answered all the same; check the store,"
        " credentials and network.",
    ),
    Meaning(
        Type.STORAGE_REACHABLE,
        State.UNKNOWN,
        Reason.ROUTERS_SILENT,
        "No router answers the operator: none runs yet, or a NetworkPolicy is in the way.",
    ),
)

SEVERITY = [
    meaning.reason for meaning in MEANINGS if meaning.type == Type.DEGRADED and meaning.status == State.TRUE
]
"""Reasons to be degraded, the one to tell first where there are several."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, as it is now."""

    type: Type
    status: State
    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong."""

    reason: Reason
    message: str


MAX_MESSAGE = 2000


def degraded(issues: Iterable[Issue]) -> Condition:
    """The Degraded condition: the worst reason, and all messages."""
    ordered = sorted(issues, key=lambda one: SEVERITY.index(one.reason))
    if not ordered:
        return Condition(Type.DEGRADED, State.FALSE, Reason.AS_EXPECTED)
    message = "; ".join(dict.fromkeys(one.message for one in ordered))
    return Condition(Type.DEGRADED, State.TRUE, ordered[0].reason, message)


def updated(
    previous: Iterable[Object], conditions: Iterable[Condition], generation: int, now: datetime
) -> list[Object]:
    """The conditions as the status holds them; ``lastTransitionTime`` moves where the status changes."""
    known = {one.get("type"): one for one in previous}
    return [_updated(known.get(one.type.value), one, generation, now) for one in conditions]


def find(conditions: Iterable[Object], kind: Type) -> Object:
    """A condition of a status; empty where it has none of the type."""
    return next((one for one in conditions if one.get("type") == kind), {})


def timestamp(now: datetime) -> str:
    """As Kubernetes writes times: whole seconds, UTC."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """The time that Kubernetes wrote."""
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
