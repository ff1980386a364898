"""What pods say that keeps them from running."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from vectorcache_operator.conditions import Issue, Reason, moment
from vectorcache_operator.kinds import Object, is_terminating, name_of

UNSCHEDULABLE_SECONDS = 10.0
"""A pod may wait that long for a place: volumes are made, another pod is about to leave."""
NOT_READY_SECONDS = 300.0
"""A node warms up and a container starts in less."""

_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
_CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


@dataclass(frozen=True, slots=True)
class PodProblems:
    """What is wrong with pods, and after how many seconds to look again, because time alone may make it wrong."""

    issues: list[Issue]
    look_again: float | None


def pod_problems(pods: Iterable[Object], now: datetime) -> PodProblems:
    """Look at pods; those that leave are passed over."""
    issues, waits = [], []
    for pod in pods:
        if is_terminating(pod):
            continue
        found = _container_trouble(pod)
        if found is not None:
            issues.append(found)
            continue
        for kind, reason, patience, text in (
            ("PodScheduled", Reason.UNSCHEDULABLE, UNSCHEDULABLE_SECONDS, "cannot be scheduled"),
            ("Ready", Reason.PODS_NOT_READY, NOT_READY_SECONDS, "is not ready"),
        ):
            condition = _condition(pod, kind)
            if condition.get("status") != "False":
                continue
            since = condition.get("lastTransitionTime")
            left = patience - (now - moment(since)).total_seconds() if since else patience
            if left > 0:
                waits.append(left)
            else:
                issues.append(Issue(reason, _message(pod, condition, text)))
            break
    return PodProblems(issues, min(waits) if waits else None)


def is_ready(pod: Object) -> bool:
    """Whether a pod gets traffic."""
    return not is_terminating(pod) and _condition(pod, "Ready").get("status") == "True"


def _container_trouble(pod: Object) -> Issue | None:
    status = pod.get("status", {})
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = container.get("state", {}).get("waiting") or {}
        kind, detail = waiting.get("reason", ""), waiting.get("message", "")
        if kind in _PULL:
            # Two messages take turns while the kubelet backs off; what they have in common is the error.
            _, _, error = detail.rpartition("ErrImagePull: ")
            text = f"pod {name_of(pod)}: image {container.get('image')} cannot be pulled: {error or kind}"
            return Issue(Reason.IMAGE_PULL_FAILING, text)
        if kind in _CONFIG:
            text = (
                f"pod {name_of(pod)}: container {container.get('name')} cannot be created: {detail or kind}"
            )
            return Issue(Reason.CONTAINER_CONFIG_INVALID, text)
        if kind == "CrashLoopBackOff":
            ended = container.get("lastState", {}).get("terminated") or {}
            why = f"exit code {ended.get('exitCode', 'unknown')}, {ended.get('reason', 'no reason given')}"
            text = f"pod {name_of(pod)}: container {container.get('name')} ends again and again ({why})"
            return Issue(Reason.CONTAINER_CRASHING, text)
    return None


def _condition(pod: Object, kind: str) -> Object:
    found: list[Object] = pod.get("status", {}).get("conditions") or []
    return next((one for one in found if one.get("type") == kind), {})


def _message(pod: Object, condition: Object, text: str) -> str:
    detail = condition.get("message")
    return (
        f"pod {name_of(pod)} {text} since {condition['lastTransitionTime']}{f': {detail}' if detail else ''}"
    )
