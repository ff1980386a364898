from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.support.operator.resources import NOW, Object, pod

from vectorcache_operator.conditions import Reason
from vectorcache_operator.pod_problems import NOT_READY_SECONDS, is_ready, pod_problems


def waiting(reason: str, message: str = "", **status: Any) -> Object:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": "node", "image": "example/node:2", "state": state, **status}


def broken(reason: str, message: str = "", **status: Any) -> Object:
    return pod("products-node-2", ready=False, containerStatuses=[waiting(reason, message, **status)])


@pytest.mark.parametrize(
    ("found", "reason", "message"),
    [
        (
            broken("ErrImagePull", "not found"),
            Reason.IMAGE_PULL_FAILING,
            "pod products-node-2: image example/node:2 cannot be pulled: not found",
        ),
        (
            broken("ImagePullBackOff", 'Back-off pulling image "example/node:2": ErrImagePull: not found'),
            Reason.IMAGE_PULL_FAILING,
            "pod products-node-2: image example/node:2 cannot be pulled: not found",
        ),
        (
            broken("CreateContainerConfigError", 'secret "blob" not found'),
            Reason.CONTAINER_CONFIG_INVALID,
            'pod products-node-2: container node cannot be created: secret "blob" not found',
        ),
        (
            broken("CrashLoopBackOff", lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            Reason.CONTAINER_CRASHING,
            "pod products-node-2: container node crashes repeatedly (exit code 137, OOMKilled)",
        ),
    ],
    ids=["pull", "back-off", "config", "crash"],
)
def test_containers(found: Object, reason: Reason, message: str) -> None:
    (issue,) = pod_problems([found], NOW).issues
    assert (issue.reason, issue.message) == (reason, message)


def test_a_container_being_created_is_no_issue() -> None:
    assert pod_problems([broken("ContainerCreating")], NOW).issues == []


def test_a_terminating_pod_is_skipped() -> None:
    terminating = broken("ErrImagePull")
    terminating["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    assert pod_problems([terminating], NOW).issues == []
    assert not is_ready(terminating)


def test_unready_pods_are_tolerated_for_a_while() -> None:
    found = pod("products-node-0", ready=False)
    first = pod_problems([found], NOW)
    assert (first.issues, first.requeue_after) == ([], NOT_READY_SECONDS - 60)
    late = NOW + timedelta(seconds=NOT_READY_SECONDS)
    (issue,) = pod_problems([found], late).issues
    assert issue.reason is Reason.PODS_NOT_READY
    assert issue.message == "pod products-node-0 is not ready since 2026-11-21T11:59:00Z"


def test_unschedulable_pods_are_tolerated_for_a_while() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/2 nodes are available",
        "lastTransitionTime": "2026-11-21T11:59:55Z",
    }
    found = pod("products-node-0")
    found["status"] = {"conditions": [condition]}
    first = pod_problems([found, pod("products-node-1")], NOW)
    assert (first.issues, first.requeue_after) == ([], 5.0)
    (issue,) = pod_problems([found], NOW + timedelta(seconds=5)).issues
    assert issue.reason is Reason.UNSCHEDULABLE
    assert issue.message.endswith(": 0/2 nodes are available")


def test_healthy_pods() -> None:
    found = pod_problems([pod("products-node-0"), {"metadata": {"name": "new"}, "status": {}}], NOW)
    assert (found.issues, found.requeue_after) == ([], None)
