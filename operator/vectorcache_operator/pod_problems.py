"""Problems that the status of a pod reports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from vectorcache_operator.conditions import Issue, Reason, moment
from vectorcache_operator.kinds import Object, is_terminating, name_of

UNSCHEDULABLE_SECONDS = 10.0
"""Time that a pod may be unschedulable, while volumes are created or other pods terminate."""
NOT_READY_SECONDS = 300.0
"""Time that a pod may be unready; a node's start and warm-up take less."""

_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
_CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


@dataclass(frozen=True, slots=True)
class PodProblems:
    """Issues of pods, and the seconds until a condition that is still tolerated becomes an issue, or None."""

    issues: list[Issue]
    requeue_after: float | None


def pod_problems(pods: Iterable[Object], now: datetime) -> PodProblems:
    """Return the problems of pods. Terminating pods are skipped."""
    issues, waits = [], []
    for pod in pods:
        if is_terminating(pod):
            continue
        found = _container_issue(pod)
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
    """Return whether a pod is ready and not terminating."""
    return not is_terminating(pod) and _condition(pod, "Ready").get("status") == "True"


def _container_issue(pod: Object) -> Issue | None:
    status = pod.get("status", {})
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = container.get("state", {}).get("waiting") or {}
        kind, detail = waiting.get("reason", ""), waiting.get("message", "")
        if kind in _PULL:
            # The kubelet alternates between two messages while it backs off. Both end with the error.
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
            why = f"exit code {ended.get('exitCode', 'unknown')}, {ended.get('reason', 'unknown reason')}"
            text = f"pod {name_of(pod)}: container {container.get('name')} crashes repeatedly ({why})"
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
