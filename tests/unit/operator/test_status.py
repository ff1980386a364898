from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.support.operator.resources import NOW, SMALL, Object, facts, live, pod, resource

from vectorcache_operator import conditions
from vectorcache_operator.conditions import MEANINGS, SEVERITY, Issue, Reason, State, Type
from vectorcache_operator.plan.deployment import deployment
from vectorcache_operator.plan.statefulset import stateful_set
from vectorcache_operator.routers import RouterView
from vectorcache_operator.status import Workloads, status_of, status_of_invalid

SPEC = SMALL | {"nodes": {"replicas": 3}, "router": {"replicas": 2}}
RING: Object = {"virtualNodes": 10000, "replication": 2}


def workloads(nodes: Object, routers: Object, generation: int = 1) -> dict[str, Any]:
    nodes_set, routers_set = stateful_set(resource(SPEC), facts()), deployment(resource(SPEC), facts())
    observed = {"observedGeneration": generation}
    return {
        "stateful_set": live(nodes_set) | {"status": observed | nodes},
        "deployment": live(routers_set) | {"status": observed | routers},
    }


def seen(pods: int = 3, ready: int = 3, routers: int = 2, **more: Any) -> Workloads:
    counts = {"replicas": routers, "readyReplicas": routers, "updatedReplicas": routers} if routers else {}
    found = workloads({"updateRevision": "r1"}, counts) | {
        "node_pods": [pod(f"products-node-{number}", ready=number < ready) for number in range(pods)],
        "routers": RouterView(storage=True),
    }
    return Workloads(**(found | more))


def status(
    what: Workloads, before: Object | None = None, spec: Object = SPEC, later: float = 0.0, **more: Any
) -> Object:
    return status_of(
        resource(spec), what, RING, more.get("issues", ()), before or {}, NOW + timedelta(seconds=later)
    )


def brief(found: Object) -> dict[str, str]:
    return {one["type"]: f"{one['status']} {one['reason']}" for one in found["conditions"]}


def test_a_healthy_cache() -> None:
    found = status(seen())
    assert brief(found) == {
        "Ready": "True Serving",
        "Progressing": "False Complete",
        "Degraded": "False AsExpected",
        "StorageReachable": "True Reachable",
    }
    assert found["nodes"] == {"desired": 3, "ready": 3, "updated": 3, "summary": "3/3"}
    assert found["router"] == {"desired": 2, "ready": 2}
    assert (found["observedGeneration"], found["replicas"]) == (7, 3)


def test_the_first_start_is_ready_only_with_all_pods() -> None:
    starting = status(seen(ready=2, routers=1))
    assert brief(starting)["Ready"] == "False Starting"
    assert brief(starting)["Progressing"] == "True Starting"
    assert brief(status(seen(routers=1), starting))["Ready"] == "False Starting"
    assert brief(status(seen(), starting))["Ready"] == "True Serving"


def test_later_one_node_and_one_router_are_enough() -> None:
    well = status(seen())
    rolling = status(seen(ready=1, routers=1), well)
    assert brief(rolling)["Ready"] == "True Serving"
    assert (
        brief(rolling)["Progressing"] == "True RollingOut" or brief(rolling)["Progressing"] == "True Scaling"
    )
    nothing = status(seen(ready=0), rolling)
    assert brief(nothing)["Ready"] == "False NoNodesReady"
    assert brief(status(seen(ready=1), nothing))["Ready"] == "True Serving"
    assert brief(status(seen(routers=0), well))["Ready"] == "False NoRoutersReady"


def test_scaling_differs_from_a_rollout() -> None:
    well = status(seen())
    assert brief(status(seen(pods=2, ready=2), well))["Progressing"] == "True Scaling"
    assert brief(status(seen(ready=2), well))["Progressing"] == "True RollingOut"
    old = [pod(f"products-node-{number}", revision="r0" if number else "r1") for number in range(3)]
    found = status(seen(node_pods=old), well)
    assert brief(found)["Progressing"] == "True RollingOut"
    assert found["nodes"]["updated"] == 1


def test_an_unobserved_generation_is_progress() -> None:
    well = status(seen())
    late = workloads({"updateRevision": "r1"}, {"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2}, 0)
    assert brief(status(seen(**late), well))["Progressing"] == "True RollingOut"
    assert brief(status(seen(stateful_set=None), well))["Progressing"] == "True RollingOut"


def test_a_terminating_pod_exists_but_is_not_ready() -> None:
    well = status(seen())
    pods = [pod(f"products-node-{number}") for number in range(4)]
    pods[3]["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    found = status(seen(node_pods=pods), well)
    assert (found["nodes"]["ready"], found["replicas"]) == (3, 4)
    assert brief(found)["Progressing"] == "True Scaling"


def test_hibernated() -> None:
    spec = SPEC | {"nodes": {"replicas": 0}, "router": {"replicas": 0}}
    found = status(seen(pods=0, routers=0), status(seen()), spec)
    assert brief(found)["Ready"] == "False Hibernated"
    assert brief(found)["Progressing"] == "False Hibernated"
    assert found["nodes"]["summary"] == "0/0"
    assert brief(status(seen(ready=2), found))["Ready"] == "False Starting"


def test_the_most_severe_issue_is_the_reason_and_all_are_reported() -> None:
    issues = [
        Issue(Reason.VOLUME_SHRINK_REFUSED, "the disk"),
        Issue(Reason.IMAGE_PULL_FAILING, "the image"),
        Issue(Reason.IMAGE_PULL_FAILING, "the image"),
    ]
    found = conditions.find(status(seen(), issues=issues)["conditions"], Type.DEGRADED)
    assert (found["reason"], found["message"]) == ("ImagePullFailing", "the image; the disk")


def test_storage() -> None:
    away = seen()
    assert brief(status(away))["StorageReachable"] == "True Reachable"
    silent = Workloads(away.stateful_set, away.deployment, away.node_pods, RouterView())
    assert brief(status(silent))["StorageReachable"] == "Unknown RoutersSilent"
    early = Workloads(away.stateful_set, away.deployment, away.node_pods, None)
    assert brief(status(early))["StorageReachable"] == "Unknown RoutersSilent"
    view = RouterView(storage=False, problem="blob store: refused", collections=(("words", 3, 400),))
    broken = status(Workloads(away.stateful_set, away.deployment, away.node_pods, view))
    assert conditions.find(broken["conditions"], Type.STORAGE_REACHABLE)["message"] == "blob store: refused"
    assert broken["collections"] == [{"name": "words", "version": 3, "vectors": 400}]
    assert status(early, broken) == broken


def test_only_a_transition_changes_the_time() -> None:
    first = status(seen())
    second = status(seen(ready=2), first, later=60)
    times = {one["type"]: one["lastTransitionTime"] for one in second["conditions"]}
    assert times["Progressing"] == "2026-11-21T12:01:00Z"
    assert times["Ready"] == times["Degraded"] == "2026-11-21T12:00:00Z"
    assert conditions.find(second["conditions"], Type.READY)["message"].startswith("2 of 3 nodes")


def test_the_same_observation_gives_the_same_status() -> None:
    first = status(seen())
    assert status(seen(), first, later=3600) == first


def test_a_long_rollout_without_issues_is_stalled() -> None:
    well = status(seen())
    rolling = status(seen(pods=2, ready=2), well)
    assert brief(status(seen(pods=2, ready=2), rolling, later=599))["Degraded"] == "False AsExpected"
    stalled = status(seen(pods=2, ready=2), rolling, later=601)
    assert brief(stalled)["Degraded"] == "True RolloutStalled"
    issue = [Issue(Reason.UNSCHEDULABLE, "no room")]
    told = status(seen(pods=2, ready=2), rolling, later=601, issues=issue)
    assert brief(told)["Degraded"] == "True Unschedulable"


def test_an_invalid_spec_keeps_the_other_conditions() -> None:
    well = status(seen())
    found = status_of_invalid(8, "spec: no", well, NOW)
    assert brief(found)["Degraded"] == "True InvalidSpec"
    assert brief(found)["Ready"] == "True Serving"
    assert (found["observedGeneration"], found["nodes"]) == (8, well["nodes"])
    assert status_of_invalid(8, "spec: no", {}, NOW)["conditions"][0]["reason"] == "InvalidSpec"


def test_every_reason_has_a_meaning_and_a_severity() -> None:
    assert {meaning.reason for meaning in MEANINGS} == set(Reason)
    assert len(SEVERITY) == len(set(SEVERITY))
    assert all(meaning.text.endswith(".") for meaning in MEANINGS)
    assert conditions.degraded([]).status is State.FALSE


@pytest.mark.parametrize("reason", Reason)
def test_reasons_are_camel_case(reason: Reason) -> None:
    assert reason.value.isalpha()
    assert reason.value[0].isupper()
