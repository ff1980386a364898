"""Pods, machines and cables fail; every search is answered, and right."""

from __future__ import annotations

import shlex

import pytest
from tests.e2e.support.cache import Cache
from tests.e2e.support.kubectl import Failed, Kubectl, condition, run
from tests.e2e.support.machines import Machines
from tests.e2e.support.searches import Searches
from tests.e2e.support.settings import Settings
from tests.e2e.support.waiting import until

OURS = "app.kubernetes.io/name in (vectorcache,vectorcache-operator)"


@pytest.mark.parametrize("flags", [[], ["--grace-period=0", "--force"]], ids=["asked", "forced"])
def test_a_node_pod_is_deleted(cache: Cache, searches: Searches, flags: list[str]) -> None:
    before = _uids(cache, "node")
    with searches.watched() as answers:
        cache.kubectl("delete", "pod", "words-node-1", "--wait=false", *flags)
        until(
            lambda: _uids(cache, "node").get("words-node-1") not in (None, before["words-node-1"]),
            "a new pod",
        )
        cache.wait_settled()
    answers.check()


def test_all_routers_but_one_are_deleted(cache: Cache, searches: Searches) -> None:
    with searches.watched() as answers:
        cache.change(router={"replicas": 3})
        cache.wait_settled()
        deleted = sorted(cache.ready_pods("router"))[1:]
        cache.kubectl("delete", "pod", "--wait=false", *deleted)
        until(lambda: not set(deleted) & set(_uids(cache, "router")), "they are gone")
        cache.wait_settled()
    answers.check()


def test_a_machine_is_drained(cache: Cache, searches: Searches, machines: Machines) -> None:
    if machines.victim is None:
        pytest.skip("there is only one Kubernetes node")
    with searches.watched() as answers:
        try:
            _drain(machines.victim, tied=_volumes_are_tied(cache))
            if not _volumes_are_tied(cache):
                cache.wait_settled()
                assert not _on(cache, machines.victim), "its pods are elsewhere"
        finally:
            run("kubectl", "uncordon", machines.victim)
        cache.wait_settled()
    answers.check()


@pytest.mark.timeout(400)
def test_a_machine_is_cut_off_and_healed(
    cache: Cache, searches: Searches, machines: Machines, settings: Settings
) -> None:
    if machines.victim is None or not settings.cut:
        pytest.skip(
            "there is only one Kubernetes node, or E2E_CUT names no command that takes one off the network"
        )
    _spread(cache, machines)
    with searches.watched() as answers:
        try:
            run(*shlex.split(settings.cut), machines.victim)
            until(lambda: not _machine_is_ready(machines.victim), "the cluster sees it", 90)
            until(lambda: cache.condition("Progressing").get("status") == "True", "the resource says so", 30)
        finally:
            run(*shlex.split(settings.heal), machines.victim)
        until(lambda: _machine_is_ready(machines.victim), "the cluster sees it again", 90)
        cache.wait_settled()
    answers.check(again=True)  # what was on its way to the router there has to be asked again


def _uids(cache: Cache, component: str) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in cache.pods(component)}


def _on(cache: Cache, machine: str) -> list[str]:
    pods = [*cache.pods("node"), *cache.pods("router")]
    return [pod["metadata"]["name"] for pod in pods if pod["spec"].get("nodeName") == machine]


def _spread(cache: Cache, machines: Machines) -> None:
    """At least a node and a router on either side: after a drain, all may be on one."""
    assert machines.victim is not None
    for component, kind in (("node", "statefulset/words-node"), ("router", "deployment/words-router")):
        names = {pod["metadata"]["name"] for pod in cache.pods(component)}
        if not names & set(_on(cache, machines.victim)):
            cache.kubectl("delete", "pod", sorted(names)[-1])
            cache.kubectl("rollout", "status", kind, "--timeout=60s")
    cache.wait_settled()
    assert _on(cache, machines.victim), "something of it runs on the machine that is cut off"


def _drain(machine: str, *, tied: bool) -> None:
    options = ["--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={OURS}"]
    try:
        run("kubectl", "drain", machine, *options, f"--timeout={30 if tied else 120}s", seconds=150)
    except Failed:
        if (
            not tied
        ):  # else the disruption budget rightly keeps the second pod, as the first one has no place to go to
            raise


def _volumes_are_tied(cache: Cache) -> bool:
    volumes = Kubectl(cache.kubectl.namespace).list("persistentvolume")
    return any(volume["spec"].get("nodeAffinity") for volume in volumes)


def _machine_is_ready(name: str | None) -> bool:
    assert name is not None
    return condition(Kubectl("default").get("node", name), "Ready").get("status") == "True"
