"""The parts of Kubernetes API objects that a router reads, and their interpretation as nodes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from vectorcache_router.membership.presence import Pod

NODE_PORT = 8080
"""Port of a node in a pod."""

_STARTING = 2.0
"""Seconds. A pod whose Ready condition last changed this soon after its start was never ready. The API's times are
whole seconds."""


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """Metadata of any object. ``deletion_timestamp`` is when the grace period ends, not when deletion was requested."""

    name: str = ""
    resource_version: str = ""
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: float | None = None


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    """One condition of a status."""

    type: str
    status: str
    last_transition_time: datetime | None = None


class PodStatus(msgspec.Struct, frozen=True):
    """The status of a pod."""

    address: str | None = msgspec.field(name="podIP", default=None)
    started: datetime | None = msgspec.field(name="startTime", default=None)
    conditions: list[Condition] = []


class PodObject(msgspec.Struct, frozen=True):
    """A pod."""

    metadata: Metadata
    status: PodStatus = PodStatus()


class StatefulSetSpec(msgspec.Struct, frozen=True):
    """The spec of a StatefulSet."""

    replicas: int = 1


class StatefulSetObject(msgspec.Struct, frozen=True):
    """A StatefulSet."""

    metadata: Metadata
    spec: StatefulSetSpec = StatefulSetSpec()


class ScaleSpec(msgspec.Struct, frozen=True):
    """The spec of a Scale."""

    replicas: int = 0


class Scale(msgspec.Struct, frozen=True):
    """The scale subresource."""

    spec: ScaleSpec = ScaleSpec()


class Status(msgspec.Struct, frozen=True):
    """The response of the API to a failed request."""

    message: str = ""
    code: int = 0


class ObjectList(msgspec.Struct, frozen=True):
    """A list of objects, which are decoded separately because they may be of any kind."""

    metadata: Metadata
    items: list[msgspec.Raw] | None = None


class Event(msgspec.Struct, frozen=True):
    """One line of a watch."""

    type: str
    object: msgspec.Raw


def pod_of(pod: PodObject) -> Pod:
    """Convert a pod object to the state of its node."""
    condition = next((one for one in pod.status.conditions if one.type == "Ready"), None)
    is_ready = condition is not None and condition.status == "True"
    url = _url(pod.status.address)
    if is_ready and url is not None and pod.metadata.deletion_timestamp is None:
        return Pod(pod.metadata.name, url, ready=True)
    return Pod(pod.metadata.name, url, ready=False, left=_left(pod, condition))


def _left(pod: PodObject, condition: Condition | None) -> float | None:
    """Return when a pod that is not ready or is being deleted left. None if it was never ready."""
    if condition is None:
        return None
    deleted = _deleted(pod.metadata)
    if condition.status == "True":
        return deleted
    changed, started = condition.last_transition_time, pod.status.started
    if changed is None or started is None or (changed - started).total_seconds() <= _STARTING:
        return None  # it has not been ready since its start
    return changed.timestamp() if deleted is None else min(deleted, changed.timestamp())


def _deleted(metadata: Metadata) -> float | None:
    if metadata.deletion_timestamp is None:
        return None
    return metadata.deletion_timestamp.timestamp() - (metadata.deletion_grace_period_seconds or 0.0)


def _url(address: str | None) -> str | None:
    if not address:
        return None
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{NODE_PORT}"


def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Return a decoder for a kind of object. It ignores unknown fields."""
    return msgspec.json.Decoder(kind)
