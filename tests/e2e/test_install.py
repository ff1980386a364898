"""Installing: by kubectl, and by helm as the quick start does it."""

from __future__ import annotations

import pytest
from tests.e2e.support import quickstart
from tests.e2e.support.cache import Cache
from tests.e2e.support.kubectl import Failed, Kubectl, condition, run
from tests.e2e.support.settings import Settings
from tests.e2e.support.waiting import until


def test_kubectl_installs_the_operator_and_removes_it(settings: Settings) -> None:
    if settings.shared:
        pytest.skip("E2E_PREFIX is set: others use this cluster, and manifests/ serves all of it")
    if quickstart.installed(settings):
        pytest.skip("the operator is installed already")
    run("kubectl", "apply", "--server-side", "--kustomize=manifests")
    try:
        run(
            "kubectl",
            "-n",
            settings.system,
            "rollout",
            "status",
            "deployment/vectorcache-operator",
            "--timeout=60s",
        )
        run("kubectl", "create", "namespace", settings.other)
        cache = Cache(Kubectl(settings.other), "sleeper")
        cache.kubectl.apply(_resource("sleeper", replicas=0))
        until(
            lambda: condition(cache.resource(), "Ready").get("reason") == "Hibernated", "the operator sees it"
        )
        assert "statefulset/sleeper-node" in cache.owned()
        cache.kubectl("delete", "vectorcache", "sleeper")
        until(lambda: not cache.kubectl.names("statefulset,deployment,service"), "what it owned is gone")
    finally:
        run(
            "kubectl",
            "delete",
            "namespace",
            settings.other,
            "--ignore-not-found",
            "--timeout=60s",
            seconds=90,
        )
        run("kubectl", "delete", "--kustomize=manifests", "--ignore-not-found", "--timeout=60s", seconds=90)
    assert not run("kubectl", "get", "crd", quickstart.CRD, "--ignore-not-found")


def test_the_quick_start_finds_what_is_near_a_king(quick_start: str) -> None:
    if not quick_start:
        pytest.skip("the quick start has run before")
    for word in ("king", "prince", "queen"):
        assert f" {word} " in quick_start


def test_helm_sees_a_ready_operator(settings: Settings, words: Cache) -> None:
    told = run("helm", "test", "vectorcache", "--namespace", settings.system, "--timeout=60s", seconds=90)
    assert "Succeeded" in told


def test_kubectl_shows_and_explains_it(cache: Cache) -> None:
    shown = cache.kubectl("get", "vc", "words", "--no-headers").split()
    assert shown[:4] == ["words", "True", "3/3", f"http://words-router.{cache.kubectl.namespace}.svc:8080"]
    assert "cache nodes" in cache.kubectl("explain", "vectorcache.spec.nodes")
    assert cache.kubectl("get", "vectorcache", "--output=name") == "vectorcache.vectorcache.io/words\n"
    served = cache.resource()["status"]["collections"]
    assert served == [{"name": "glove", "version": 1, "vectors": 50_000}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('{"spec": {"ring": {"replication": 4}}}', "must not exceed nodes.replicas"),
        ('{"spec": {"ring": {"virtualNodes": 64}}}', "virtualNodes cannot be changed"),
        ('{"spec": {"blob": {"url": "azure://vectorcache/elsewhere"}}}', "blob.url cannot be changed"),
        ('{"spec": {"nodes": {"disk": {"capacity": "32Mi"}}}}', "must be at least memory.capacity"),
        ('{"spec": {"nodes": {"memory": {"capacity": "much"}}}}', "spec.nodes.memory.capacity"),
    ],
)
def test_what_cannot_be_is_refused_with_a_message(cache: Cache, change: str, message: str) -> None:
    with pytest.raises(Failed, match=message):
        cache.kubectl(
            "patch", "vectorcache", "words", "--type=merge", f"--patch={change}", "--dry-run=server"
        )


def _resource(name: str, replicas: int) -> dict[str, object]:
    spec = {
        "blob": {"url": "azure://vectorcache/collections"},
        "nodes": {"replicas": replicas},
        "router": {"replicas": 0},
    }
    return {
        "apiVersion": "vectorcache.io/v1alpha1",
        "kind": "VectorCache",
        "metadata": {"name": name},
        "spec": spec,
    }
