"""The chart and the manifests on a real cluster.

Cluster-wide names are of the test's own, and so is the CRD's group: other work may go on in the same cluster. Pods
run a stand-in that does nothing and is never ready (VECTORCACHE_PAUSE_IMAGE names another than the test cluster's).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from tests.support.operator.chart import CHART, MANIFESTS, Object, Refused, kustomize, objects, of, run
from tests.support.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

PAUSE = os.environ.get("VECTORCACHE_PAUSE_IMAGE", "localhost/pause:1")
GROUP = "vectorcache.io"
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
MADE = (
    "deployments,replicasets,services,configmaps,serviceaccounts,secrets,roles,rolebindings,networkpolicies"
)
BLOB = {"blob": {"url": "azure://account/container"}}


def kubectl(*arguments: str | Path, given: str | None = None) -> str:
    return run("kubectl", "--request-timeout=30s", *arguments, input=given)


def helm(*arguments: str | Path, values: dict[str, Any] | None = None) -> str:
    return run("helm", *arguments, "--values", "-", input=json.dumps(values or {}))


def what_is_in(namespace: str) -> set[tuple[str, str]]:
    """Kinds and names of what a chart makes."""
    return {(one["kind"], one["metadata"]["name"]) for one in listed(MADE, f"--namespace={namespace}")}


def listed(*arguments: str) -> list[dict[str, Any]]:
    items = json.loads(kubectl("get", *arguments, "--output=json"))["items"]
    assert isinstance(items, list)
    return items


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> None:
    try:
        kubectl("get", "--raw=/readyz")
    except Refused as error:
        reason = f"no cluster answers (KUBECONFIG): {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def namespace() -> Iterator[str]:
    """A new namespace that lets only restricted pods in."""
    name = f"c-chart-{uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, RESTRICTED)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def group(namespace: str) -> Iterator[str]:
    """An API group of the test's own; what it has of CRDs is removed."""
    name = f"{namespace}.{GROUP}"
    yield name
    kubectl("delete", "crd", f"vectorcaches.{name}", "--ignore-not-found", "--timeout=60s")


@pytest.fixture
def chart(tmp_path: Path, group: str) -> Path:
    """The chart with the group of the test's own."""
    copy = shutil.copytree(CHART, tmp_path / "vectorcache")
    for path in [*copy.rglob("*.yaml"), *copy.rglob("*.tpl")]:
        path.write_text(path.read_text().replace(GROUP, group))
    return copy


Release = Callable[..., None]


@pytest.fixture
def release(namespace: str, chart: Path) -> Iterator[Release]:
    """``release("install", cache={...})`` or ``("upgrade", ...)`` with the values given; uninstalled at the end."""
    name, _, tag = PAUSE.rpartition(":")
    own = {"fullnameOverride": namespace, "image": {"operator": name, "tag": tag}}

    def do(verb: str, **values: Any) -> None:
        helm(verb, "vectorcache", chart, "--namespace", namespace, values={**own, **values})

    yield do
    uninstall(namespace)


def uninstall(namespace: str) -> None:
    run("helm", "uninstall", "vectorcache", "--namespace", namespace, "--wait", "--ignore-not-found")


def moved(folder: Path, namespace: str, work: Path) -> list[Object]:
    """The objects of a kustomization, in another namespace."""
    up = "/".join([".."] * len(work.resolve().parts[1:]))
    overlay = {"resources": [f"{up}{folder}"], "namespace": namespace}
    (work / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    return kustomize(work)


Can = Callable[..., bool]


@pytest.fixture
def can(namespace: str) -> Can:
    """Whether a service account of the namespace may do something."""

    def may(account: str, *question: str) -> bool:
        try:
            kubectl("auth", "can-i", *question, f"--as=system:serviceaccount:{namespace}:{account}")
        except Refused as refused:
            if not refused.output.startswith("no"):
                raise
            return False
        return True

    return may


def test_the_server_accepts_chart_and_manifests(namespace: str, tmp_path: Path) -> None:
    """Without making anything: the CRD with its rules, roles, pods."""
    helm("install", "vectorcache", CHART, "--namespace", namespace, "--dry-run=server", "--take-ownership")
    for folder in (MANIFESTS, MANIFESTS / "namespaced"):
        made = moved(folder, namespace, tmp_path)
        apply = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
        done = kubectl(*apply, "--filename=-", given=yaml.safe_dump_all(made))
        assert done.count("serverside-applied") == len(made) >= 6


def test_helm_takes_over_what_kubectl_installed(namespace: str, tmp_path: Path) -> None:
    made = moved(MANIFESTS / "namespaced", namespace, tmp_path)
    kubectl("apply", "--server-side", "--filename=-", given=yaml.safe_dump_all(made))
    (before,) = listed("deployments", f"--namespace={namespace}")
    name, _, tag = PAUSE.rpartition(":")
    values = {
        "watchNamespaces": [namespace],
        "crds": {"create": False},
        "rbac": {"aggregate": False},
        "image": {"operator": name, "tag": tag},
    }
    release = ("install", "vectorcache", CHART, "--namespace", namespace)
    with pytest.raises(Refused, match="invalid ownership metadata"):
        helm(*release, values=values)
    helm(*release, "--take-ownership", "--force-conflicts", values=values)
    (after,) = listed("deployments", f"--namespace={namespace}")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    containers = after["spec"]["template"]["spec"]["containers"]
    assert [each["image"] for each in containers] == [PAUSE]
    names = [each["name"] for each in containers[0]["env"]]
    assert len(names) == len(set(names)) == 5
    uninstall(namespace)
    assert listed("deployments", f"--namespace={namespace}") == []


async def test_from_install_to_uninstall(namespace: str, group: str, chart: Path, release: Release) -> None:
    cache = {"create": True, "name": "products", "spec": BLOB}
    with pytest.raises(Refused, match=r"Install with cache\.create=false first"):
        release("install", cache=cache)

    release("install")
    kubectl("wait", "--for=condition=Established", f"crd/vectorcaches.{group}", "--timeout=30s")
    started = "--for=jsonpath={.status.containerStatuses[0].state.running}"
    pod = (
        "pod",
        f"--selector=app.kubernetes.io/instance={namespace}",
        f"--namespace={namespace}",
        "--timeout=60s",
    )
    kubectl("wait", "--for=create", *pod)
    kubectl("wait", started, *pod)  # the namespace's pod security let it in, and it runs as it is told

    release("upgrade", cache=cache)
    resource = f"vectorcaches.{group}"
    (made,) = listed(resource, f"--namespace={namespace}")
    assert made["spec"]["nodes"]["replicas"] == 3  # the CRD's defaults are in force
    autoscale = (
        "autoscale",
        resource,
        "products",
        f"--namespace={namespace}",
        "--min=3",
        "--max=9",
        "--cpu=60%",
    )
    assert "autoscaled" in kubectl(*autoscale, "--dry-run=server")

    crd = chart / "files/vectorcaches.yaml"
    known = yaml.safe_load(crd.read_text())
    schema = known["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["note"] = {
        "type": "string",
        "description": "Of a later version.",
    }
    crd.write_text(yaml.safe_dump(known))
    release("upgrade", cache=cache)
    note = json.dumps({"spec": {"note": "kept"}})
    assert "note" in kubectl("get", "crd", resource, "--output=json")
    kubectl("patch", resource, "products", f"--namespace={namespace}", "--type=merge", f"--patch={note}")
    (made,) = listed(resource, f"--namespace={namespace}")
    assert made["spec"]["note"] == "kept"  # and not dropped as unknown

    uninstall(namespace)
    # Nothing but what every namespace has, and the CRD.
    own = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
    await until(lambda: what_is_in(namespace) == own)  # the garbage collector takes its time
    assert listed(resource, f"--namespace={namespace}") == []
    wide = [one["metadata"]["name"] for one in listed("clusterroles,clusterrolebindings")]
    assert not [name for name in wide if name.startswith(namespace)]

    release("install", cache=cache)  # at once, with a cache: the CRD stayed
    assert len(listed(resource, f"--namespace={namespace}")) == 1


def test_the_operator_may_do_its_work_and_no_more(
    namespace: str, group: str, release: Release, can: Can
) -> None:
    release("install")
    allowed: tuple[tuple[str, ...], ...] = (
        ("create", "statefulsets.apps", "--namespace=default"),
        ("patch", "services", "--namespace=default"),
        ("patch", f"vectorcaches.{group}", "--subresource=status", "--namespace=default"),
        ("get", "secrets/any", "--namespace=default"),
        ("watch", f"vectorcaches.{group}", "--all-namespaces"),
    )
    refused: tuple[tuple[str, ...], ...] = (
        ("list", "secrets", f"--namespace={namespace}"),
        ("create", "secrets", f"--namespace={namespace}"),
        ("create", "pods", "--subresource=exec", f"--namespace={namespace}"),
        ("delete", "pods", f"--namespace={namespace}"),
        ("delete", "persistentvolumeclaims", f"--namespace={namespace}"),
        ("patch", f"vectorcaches.{group}", f"--namespace={namespace}"),
        ("delete", f"vectorcaches.{group}", f"--namespace={namespace}"),
        ("create", "clusterroles.rbac.authorization.k8s.io"),
        ("escalate", "roles.rbac.authorization.k8s.io", f"--namespace={namespace}"),
    )
    for question in (*allowed, *refused):
        assert can(namespace, *question) is (question in allowed), question


def test_it_may_grant_a_router_what_a_router_needs(namespace: str, group: str, release: Release) -> None:
    """The API server refuses a Role with more than its maker may do; so this holds the two together."""
    release("install", watchNamespaces=[namespace])
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {
            "apiGroups": ["apps"],
            "resources": ["statefulsets"],
            "resourceNames": ["products-node"],
            "verbs": ["get", "list", "watch"],
        },
        {
            "apiGroups": [group],
            "resources": ["vectorcaches/scale"],
            "resourceNames": ["products"],
            "verbs": ["get", "patch", "update"],
        },
    ]
    metadata = {"name": "products-router", "namespace": namespace}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata,
        "rules": rules,
    }
    operator = f"--as=system:serviceaccount:{namespace}:{namespace}"
    apply = ("apply", "--server-side", "--filename=-", operator)
    assert "serverside-applied" in kubectl(*apply, given=json.dumps(role))
    rules.append({"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]})
    with pytest.raises(Refused, match="attempting to grant RBAC permissions not currently held"):
        kubectl(*apply, given=json.dumps(role))


def test_for_some_namespaces_it_may_nothing_elsewhere(
    namespace: str, group: str, release: Release, can: Can
) -> None:
    release("install", watchNamespaces=[namespace])
    assert can(namespace, "watch", f"vectorcaches.{group}", f"--namespace={namespace}")
    assert can(namespace, "create", "statefulsets.apps", f"--namespace={namespace}")
    assert not can(namespace, "watch", f"vectorcaches.{group}", "--all-namespaces")
    assert not can(namespace, "create", "statefulsets.apps", "--namespace=default")
    assert not can(namespace, "list", "customresourcedefinitions.apiextensions.k8s.io")


async def test_those_who_may_edit_or_view_may_edit_or_view_caches(
    namespace: str, group: str, release: Release, can: Can
) -> None:
    release("install")
    here = f"--namespace={namespace}"
    for role in ("view", "edit", "admin"):
        account = f"--serviceaccount={namespace}:{role}"
        kubectl("create", "rolebinding", role, f"--clusterrole={role}", account, here)
    caches, scale = f"vectorcaches.{group}", "--subresource=scale"
    for role in ("view", "edit", "admin"):
        await until(
            partial(can, role, "watch", caches, here)
        )  # a controller adds our rules to Kubernetes' roles
        await until(partial(can, role, "get", caches, scale, here))
        assert not can(role, "patch", caches, "--subresource=status", here)
    for role in ("edit", "admin"):
        await until(partial(can, role, "create", caches, here))
        await until(partial(can, role, "patch", caches, scale, here))
    assert not can("view", "create", caches, here)
    assert not can("view", "patch", caches, scale, here)


def test_the_server_accepts_the_samples(namespace: str, group: str) -> None:
    crd = (MANIFESTS / "crd/vectorcaches.yaml").read_text().replace(GROUP, group)
    kubectl("apply", "--server-side", "--filename=-", given=crd)
    kubectl("wait", "--for=condition=Established", f"crd/vectorcaches.{group}", "--timeout=30s")
    for path in sorted((MANIFESTS / "samples").glob("*.yaml")):
        text = path.read_text().replace(GROUP, group)
        create = (
            "create",
            "--dry-run=server",
            "--validate=strict",
            f"--namespace={namespace}",
            "--filename=-",
        )
        assert "vectorcache" in kubectl(*create, given=text)
        assert of("VectorCache", objects(text))
