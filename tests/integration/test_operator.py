"""The operator against a real API server. Pods do nothing here; the end-to-end tests cover them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.operator.kubectl import (
    Object,
    eventually,
    get,
    install_crd,
    items,
    kubectl,
    namespace,
    needs_cluster,
    vector_cache,
)
from tests.support.operator.operator_process import OperatorProcess, operator

pytestmark = pytest.mark.cluster

RESOURCE = "vectorcaches.vectorcache.io"
MANY = 40
OWNED = (
    ("statefulset", "{}-node"),
    ("deployment", "{}-router"),
    ("service", "{}-node"),
    ("service", "{}-router"),
    ("serviceaccount", "{}-node"),
    ("serviceaccount", "{}-router"),
    ("configmap", "{}"),
    ("role", "{}-router"),
    ("rolebinding", "{}-router"),
    ("poddisruptionbudget", "{}-node"),
    ("poddisruptionbudget", "{}-router"),
    ("networkpolicy", "{}-node"),
)


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    needs_cluster()
    install_crd()
    with namespace("operator") as name:
        yield name


@pytest.fixture(scope="module")
def running(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    with operator(tmp_path_factory.mktemp("operator") / "log", place, resync="5s") as process:
        yield process


def apply(obj: Object) -> Object:
    kubectl("apply", "-f", "-", given=obj)
    return obj


def status(name: str, place: str) -> Object:
    found: Object = get(RESOURCE, name, place).get("status", {})
    return found


def condition(name: str, place: str, kind: str) -> Object:
    found = status(name, place).get("conditions", [])
    return next((one for one in found if one["type"] == kind), {})


def uid(what: str, name: str, place: str) -> str:
    found: str = get(what, name, place)["metadata"]["uid"]
    return found


def reconciled(name: str, place: str) -> bool:
    obj = get(RESOURCE, name, place)
    return bool(obj.get("status", {}).get("observedGeneration") == obj["metadata"]["generation"])


def settled(obj: Object) -> bool:
    found = obj.get("status", {}).get("conditions", [])
    return any(one["type"] == "Progressing" and one["status"] == "False" for one in found)


def make(name: str, place: str, **spec: Any) -> None:
    apply(vector_cache(name, place, **spec))
    eventually(lambda: reconciled(name, place))


def test_all_objects_exist_and_are_owned(running: OperatorProcess, place: str) -> None:
    make("whole", place)
    owner = uid(RESOURCE, "whole", place)
    for kind, pattern in OWNED:
        metadata = get(kind, pattern.format("whole"), place)["metadata"]
        assert [one["uid"] for one in metadata["ownerReferences"]] == [owner]
    eventually(lambda: len(items("pod", place, "app.kubernetes.io/instance=whole")) == 3)
    obj = get(RESOURCE, "whole", place)
    assert "finalizers" not in obj["metadata"]
    assert [*obj["metadata"]["annotations"]] == ["kubectl.kubernetes.io/last-applied-configuration"]
    found = obj["status"]
    assert found["endpoint"] == f"http://whole-router.{place}.svc:8080"
    assert {one["type"] for one in found["conditions"]} == {
        "Ready",
        "Progressing",
        "Degraded",
        "StorageReachable",
    }
    scale = json.loads(
        kubectl("get", "--raw", f"/apis/vectorcache.io/v1alpha1/namespaces/{place}/vectorcaches/whole/scale")
    )
    assert scale["status"]["selector"] == (
        "app.kubernetes.io/name=vectorcache,app.kubernetes.io/instance=whole,app.kubernetes.io/component=node"
    )


@pytest.mark.parametrize(("kind", "pattern"), OWNED)
def test_a_deleted_object_is_created_again(
    running: OperatorProcess, place: str, kind: str, pattern: str
) -> None:
    make("deleted", place)
    name = pattern.format("deleted")
    before = uid(kind, name, place)
    kubectl("-n", place, "delete", kind, name, "--wait=false")
    eventually(lambda: uid(kind, name, place) != before)


@pytest.mark.parametrize(
    ("kind", "pattern", "patch", "path"),
    [
        ("statefulset", "{}-node", {"spec": {"replicas": 7}}, ("spec", "replicas")),
        ("deployment", "{}-router", {"spec": {"replicas": 7}}, ("spec", "replicas")),
        ("service", "{}-router", {"spec": {"selector": {"a": "b"}}}, ("spec", "selector")),
        ("configmap", "{}", {"data": {"ring.json": "{}"}}, ("data", "ring.json")),
        ("role", "{}-router", {"rules": []}, ("rules",)),
        ("networkpolicy", "{}-node", {"spec": {"ingress": [{}]}}, ("spec", "ingress")),
        ("poddisruptionbudget", "{}-node", {"spec": {"maxUnavailable": 2}}, ("spec", "maxUnavailable")),
        (
            "serviceaccount",
            "{}-node",
            {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}},
            ("metadata", "labels", "app.kubernetes.io/managed-by"),
        ),
        (
            "serviceaccount",
            "{}-router",
            {"metadata": {"labels": {"app.kubernetes.io/instance": "other"}}},
            ("metadata", "labels", "app.kubernetes.io/instance"),
        ),
    ],
)
def test_a_changed_object_is_repaired(
    running: OperatorProcess, place: str, kind: str, pattern: str, patch: Object, path: tuple[str, ...]
) -> None:
    make("drifted", place)
    name = pattern.format("drifted")

    def value() -> Any:
        found: Any = get(kind, name, place)
        for part in path:
            found = found.get(part, {})
        return found

    before, version = value(), get(kind, name, place)["metadata"]["resourceVersion"]
    kubectl("-n", place, "patch", kind, name, "--type=merge", "-p", json.dumps(patch))
    eventually(lambda: get(kind, name, place)["metadata"]["resourceVersion"] != version and value() == before)


def test_without_changes_nothing_is_written(running: OperatorProcess, place: str) -> None:
    make("idle", place)
    eventually(lambda: len(items("pod", place, "app.kubernetes.io/instance=idle")) == 3)
    rounds = running.metrics()

    def more_reconciles(count: int) -> bool:
        series = f'vectorcache_operator_reconciles_total{{name="idle",namespace="{place}"}}'
        return running.metrics()[series] >= rounds[series] + count

    eventually(lambda: more_reconciles(2))  # caused by the start of the pods
    before = running.writes()
    rounds = running.metrics()
    eventually(lambda: more_reconciles(2), 30)
    assert running.writes() == before


def test_scaling_writes_the_ring_first_and_keeps_volumes(running: OperatorProcess, place: str) -> None:
    make("scaled", place)
    kubectl("-n", place, "scale", f"{RESOURCE}/scaled", "--replicas=3")
    eventually(lambda: get("statefulset", "scaled-node", place)["spec"]["replicas"] == 3)
    ring = json.loads(get("configmap", "scaled", place)["data"]["ring.json"])
    assert ring["nodes"] == [f"scaled-node-{ordinal}" for ordinal in range(3)]
    eventually(lambda: len(items("pvc", place, "app.kubernetes.io/instance=scaled")) == 3)
    kubectl(
        "-n", place, "patch", RESOURCE, "scaled", "--type=merge", "-p", '{"spec": {"nodes": {"replicas": 0}}}'
    )
    eventually(
        lambda: not items("pod", place, "app.kubernetes.io/instance=scaled,app.kubernetes.io/component=node"),
        90,
    )
    eventually(lambda: condition("scaled", place, "Ready").get("reason") == "Hibernated")
    assert len(items("pvc", place, "app.kubernetes.io/instance=scaled")) == 3


def test_a_growing_disk_grows_the_volumes_and_keeps_the_pods(running: OperatorProcess, place: str) -> None:
    make("grown", place, router={"replicas": 0})
    chosen = "app.kubernetes.io/instance=grown"
    eventually(lambda: [one["status"]["phase"] for one in items("pvc", place, chosen)] == ["Bound", "Bound"])
    before = uid("statefulset", "grown-node", place)
    claims = {one["metadata"]["uid"] for one in items("pvc", place, chosen)}
    patch = {"spec": {"nodes": {"disk": {"capacity": "128Mi"}}}}
    kubectl("-n", place, "patch", RESOURCE, "grown", "--type=merge", "-p", json.dumps(patch))
    eventually(lambda: uid("statefulset", "grown-node", place) != before)
    sizes = [one["spec"]["resources"]["requests"]["storage"] for one in items("pvc", place, chosen)]
    assert sizes == ["128Mi", "128Mi"]
    assert {one["metadata"]["uid"] for one in items("pvc", place, chosen)} == claims
    template = get("statefulset", "grown-node", place)["spec"]["volumeClaimTemplates"][0]
    assert template["spec"]["resources"]["requests"]["storage"] == "128Mi"
    replacement = uid("statefulset", "grown-node", place)

    def adopted() -> bool:
        owners = [
            one["metadata"].get("ownerReferences", [{}])[0].get("uid") for one in items("pod", place, chosen)
        ]
        return owners == [replacement, replacement]

    eventually(adopted)
    patch = {"spec": {"nodes": {"disk": {"capacity": "100Mi"}}}}
    kubectl("-n", place, "patch", RESOURCE, "grown", "--type=merge", "-p", json.dumps(patch))
    eventually(lambda: condition("grown", place, "Degraded").get("reason") == "VolumeShrinkRefused")
    assert uid("statefulset", "grown-node", place) == replacement


def test_a_storage_class_without_expansion_is_reported(running: OperatorProcess, place: str) -> None:
    fixed = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": f"{place}-fixed"},
        "provisioner": "local.test/directory",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": False,
    }
    kubectl("apply", "-f", "-", given=fixed)
    try:
        disk = {"capacity": "64Mi", "storageClassName": f"{place}-fixed"}
        make("fixed", place, nodes={"disk": disk}, router={"replicas": 0})
        chosen = "app.kubernetes.io/instance=fixed"
        eventually(
            lambda: [one["status"]["phase"] for one in items("pvc", place, chosen)] == ["Bound", "Bound"]
        )
        before = uid("statefulset", "fixed-node", place)
        patch = {"spec": {"nodes": {"disk": {"capacity": "128Mi"}}}}
        kubectl("-n", place, "patch", RESOURCE, "fixed", "--type=merge", "-p", json.dumps(patch))
        eventually(lambda: condition("fixed", place, "Degraded").get("reason") == "VolumeExpansionRefused")
        assert uid("statefulset", "fixed-node", place) == before
    finally:
        kubectl("-n", place, "delete", RESOURCE, "fixed", "--wait=false")
        kubectl("delete", "storageclass", f"{place}-fixed", "--wait=false")


def test_a_broken_image_stops_the_rollout_and_the_old_one_recovers(
    running: OperatorProcess, place: str
) -> None:
    make("rolled", place, nodes={"replicas": 3}, router={"replicas": 0})
    chosen = "app.kubernetes.io/instance=rolled"
    eventually(lambda: [one["status"]["phase"] for one in items("pod", place, chosen)] == ["Running"] * 3)
    before = {one["metadata"]["name"]: one["metadata"]["uid"] for one in items("pod", place, chosen)}
    image = get(RESOURCE, "rolled", place)["spec"]["nodes"]["image"]

    def set_image(name: str) -> None:
        patch = json.dumps({"spec": {"nodes": {"image": name}}})
        kubectl("-n", place, "patch", RESOURCE, "rolled", "--type=merge", "-p", patch)

    def images() -> list[str]:
        return [one["spec"]["containers"][0]["image"] for one in items("pod", place, chosen)]

    set_image("localhost/missing:1")
    eventually(lambda: condition("rolled", place, "Degraded").get("reason") == "ImagePullFailing", 90)
    assert "localhost/missing:1" in condition("rolled", place, "Degraded")["message"]
    assert images() == [image, image, "localhost/missing:1"]
    set_image(image)
    eventually(lambda: images() == [image] * 3, 90)
    eventually(lambda: condition("rolled", place, "Degraded").get("reason") == "AsExpected", 90)
    after = {one["metadata"]["name"]: one["metadata"]["uid"] for one in items("pod", place, chosen)}
    assert {name for name in before if before[name] != after[name]} == {"rolled-node-2"}


def test_workloads_wait_for_credentials_and_restart_when_they_change(
    running: OperatorProcess, place: str
) -> None:
    blob = {"url": "azure://account/container", "credentialsSecret": "late"}
    make("secret", place, blob=blob)
    eventually(lambda: condition("secret", place, "Degraded").get("reason") == "CredentialsMissing")
    assert not items("statefulset", place, "app.kubernetes.io/instance=secret")

    def write(value: str) -> None:
        text = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late", "namespace": place}}
        apply(text | {"stringData": {"AZURE_STORAGE_KEY": value}})

    def digest(what: str, name: str) -> str:
        template = get(what, name, place)["spec"]["template"]["metadata"]
        return str(template["annotations"]["vectorcache.io/credentials"])

    write("first-of-the-secrets")
    eventually(lambda: bool(digest("statefulset", "secret-node")))
    first = digest("statefulset", "secret-node")
    eventually(lambda: condition("secret", place, "Degraded").get("reason") == "AsExpected")
    write("second-of-the-secrets")
    eventually(lambda: digest("statefulset", "secret-node") != first)
    eventually(lambda: digest("deployment", "secret-router") == digest("statefulset", "secret-node"))
    second = digest("statefulset", "secret-node")
    kubectl("-n", place, "delete", "secret", "late")
    eventually(lambda: condition("secret", place, "Degraded").get("reason") == "CredentialsMissing")
    assert digest("statefulset", "secret-node") == second
    told = running.log.read_text() + kubectl(
        "-n", place, "get", "events,statefulset,vectorcaches", "-o", "yaml"
    )
    assert "of-the-secrets" not in told


def test_allow_from_creates_and_removes_a_policy(running: OperatorProcess, place: str) -> None:
    make("closed", place, nodes={"replicas": 0}, router={"replicas": 0, "allowFrom": [{"podSelector": {}}]})
    eventually(lambda: bool(uid("networkpolicy", "closed-router", place)))
    apply(vector_cache("closed", place, nodes={"replicas": 0}, router={"replicas": 0}))
    eventually(
        lambda: (
            not [one for one in items("networkpolicy", place) if one["metadata"]["name"] == "closed-router"]
        )
    )


def test_a_refused_object_is_reported(running: OperatorProcess, place: str) -> None:
    make("refused", place, nodes={"replicas": 0, "scheduling": {"affinity": {"nodeAffinity": "none"}}})
    eventually(lambda: condition("refused", place, "Degraded").get("reason") == "ApplyRefused")
    assert "affinity" in condition("refused", place, "Degraded")["message"]
    apply(vector_cache("refused", place, nodes={"replicas": 0}, router={"replicas": 0}))
    eventually(lambda: condition("refused", place, "Degraded").get("reason") == "AsExpected")


def test_an_object_of_another_owner_is_not_changed(running: OperatorProcess, place: str) -> None:
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "taken-router", "namespace": place},
    }
    apply(foreign | {"spec": {"selector": {"app": "foreign"}, "ports": [{"port": 80}]}})
    make("taken", place, nodes={"replicas": 0}, router={"replicas": 0})
    eventually(lambda: condition("taken", place, "Degraded").get("reason") == "NameTaken")
    assert get("service", "taken-router", place)["spec"]["selector"] == {"app": "foreign"}
    assert uid("statefulset", "taken-node", place)


def test_deleting_removes_everything_but_retained_volumes(running: OperatorProcess, place: str) -> None:
    for policy in ("Retain", "Delete"):
        name = f"gone-{policy.lower()}"
        make(name, place, deletionPolicy=policy, router={"replicas": 0})
        chosen = f"app.kubernetes.io/instance={name}"
        eventually(lambda: len(items("pvc", place, chosen)) == 2)  # noqa: B023 - called at once
        eventually(lambda: len(items("pod", place, chosen)) == 2)  # noqa: B023
        kubectl("-n", place, "delete", RESOURCE, name)
        kinds = ",".join(sorted({kind for kind, _ in OWNED} | {"pod"}))
        eventually(lambda: not items(kinds, place, chosen), 120)  # noqa: B023
    eventually(lambda: not items("pvc", place, "app.kubernetes.io/instance=gone-delete"))
    assert len(items("pvc", place, "app.kubernetes.io/instance=gone-retain")) == 2


def test_a_namespace_can_be_deleted_without_the_operator(place: str, tmp_path: Path) -> None:
    with namespace("operator-gone") as other:
        with operator(tmp_path / "log", other):
            make("left", other, nodes={"replicas": 0}, router={"replicas": 0})
        kubectl("delete", "namespace", other, "--timeout=60s")


def test_many_resources_while_the_operator_is_killed(place: str, tmp_path: Path) -> None:
    with namespace("operator-many") as other:
        objects = [
            vector_cache(f"many-{number}", other, nodes={"replicas": 0}, router={"replicas": 0})
            for number in range(MANY)
        ]
        log = tmp_path / "log"
        with operator(log, other) as first:
            kubectl("create", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": objects})
            began = time.monotonic()
            eventually(lambda: len(items("statefulset", other)) >= MANY // 5)
            first.kill()
        with operator(log, other) as second:

            def done() -> bool:
                found = items(RESOURCE, other)
                return all(one.get("status", {}).get("observedGeneration") for one in found)

            eventually(done, 60 - (time.monotonic() - began))
            assert len(items("statefulset", other)) == MANY
            # The status follows the controllers of StatefulSets and Deployments, which are slower.
            eventually(lambda: all(settled(one) for one in items(RESOURCE, other)))
            eventually(lambda: second.metrics()["vectorcache_operator_queue_depth"] == 0)
        with operator(log, other) as third:

            def looked() -> bool:
                found = third.metrics().items()
                names = [
                    name for name, _ in found if name.startswith("vectorcache_operator_reconciles_total")
                ]
                return len(names) == MANY

            eventually(looked)
            assert not third.writes()  # everything already has the wanted state
