"""The chart renders what the manifests hold, and its values change what their comments say."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.operator.chart import (
    CHART,
    KNOWS_CACHES,
    MANIFESTS,
    ROOT,
    Object,
    Refused,
    identity,
    kustomize,
    of,
    render,
    run,
    the,
)

from vectorcache import __version__

HELMS_OWN = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
    "helm.sh/resource-policy",
}
CACHE = {"create": True, "spec": {"blob": {"url": "azure://account/container"}}}


def pod(found: list[Object]) -> Any:
    return the("Deployment", found)["spec"]["template"]["spec"]


def environment(found: list[Object]) -> dict[str, Any]:
    return {
        each["name"]: each.get("value", each.get("valueFrom")) for each in pod(found)["containers"][0]["env"]
    }


def comparable(found: list[Object]) -> dict[tuple[str, str, str, str], Object]:
    """By identity, without Helm's labels, its test and the namespace, which ``helm install`` makes."""
    kept = {}
    for one in copy.deepcopy(found):
        metadata = one["metadata"]
        if one["kind"] == "Namespace" or "helm.sh/hook" in metadata.get("annotations", {}):
            continue
        for part in ("labels", "annotations"):
            entries = {key: value for key, value in metadata.pop(part, {}).items() if key not in HELMS_OWN}
            if entries:
                metadata[part] = entries
        if one["kind"] == "Deployment":
            env = one["spec"]["template"]["spec"]["containers"][0]["env"]
            env.sort(key=lambda each: each["name"])
        assert identity(one) not in kept
        kept[identity(one)] = one
    return kept


def test_it_renders_what_the_manifests_hold() -> None:
    chart, manifests = comparable(render()), comparable(kustomize())
    assert chart.keys() == manifests.keys()
    for name, one in manifests.items():
        assert chart[name] == one
    assert len(chart) == 9


def test_for_one_namespace_it_renders_what_the_namespaced_manifests_hold() -> None:
    values = {
        "watchNamespaces": ["vectorcache-system"],
        "crds": {"create": False},
        "rbac": {"aggregate": False},
    }
    rendered = render(values)
    assert environment(rendered)["VECTORCACHE_NAMESPACES"] == {
        "fieldRef": {"fieldPath": "metadata.namespace"}
    }
    assert comparable(rendered) == comparable(kustomize(MANIFESTS / "namespaced"))


def test_it_passes_helms_linter() -> None:
    run("helm", "lint", "--strict", CHART)
    run("helm", "lint", "--strict", CHART, "--values", "-", input=json.dumps({"cache": CACHE}))


def test_versions_agree() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__
    assert environment(kustomize())["VECTORCACHE_NODE_IMAGE"] == f"vectorcache/node:{__version__}"


def test_an_older_kubernetes_is_refused() -> None:
    with pytest.raises(Refused, match=r"incompatible with Kubernetes v1\.28"):
        render({}, "--kube-version", "1.28.0")


def test_rendering_twice_gives_the_same() -> None:
    assert render({"cache": CACHE}, *KNOWS_CACHES) == render({"cache": CACHE}, *KNOWS_CACHES)


# Permissions


def test_some_namespaces_take_a_role_in_each() -> None:
    rendered = render({"watchNamespaces": ["shop", "search", "shop"]})
    roles, bindings = of("Role", rendered), of("RoleBinding", rendered)
    assert {each["metadata"]["namespace"] for each in roles} == {"shop", "search"}
    assert {each["metadata"]["namespace"] for each in bindings} == {"shop", "search"}
    assert {each["subjects"][0]["namespace"] for each in bindings} == {"vectorcache-system"}
    assert not of("ClusterRoleBinding", rendered)
    assert {each["metadata"]["name"] for each in of("ClusterRole", rendered)} == {
        "vectorcache-operator-view",
        "vectorcache-operator-edit",
    }
    assert environment(rendered)["VECTORCACHE_NAMESPACES"] == "shop,search"


def test_permissions_can_come_from_elsewhere() -> None:
    rendered = render(
        {"rbac": {"create": False, "aggregate": False}, "serviceAccount": {"create": False, "name": "other"}}
    )
    kinds = {each["kind"] for each in rendered}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"}
    assert pod(rendered)["serviceAccountName"] == "other"


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["shop"]}], ids=["cluster", "namespaced"])
def test_no_permission_is_for_everything(values: dict[str, Any]) -> None:
    for role in [each for each in render(values) if each["kind"] in ("Role", "ClusterRole")]:
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
            assert rule["resources"] != ["secrets"] or rule["verbs"] == ["get"]


def test_the_service_account_takes_a_name_and_annotations() -> None:
    rendered = render({"serviceAccount": {"name": "robot", "annotations": {"example.com/role": "reader"}}})
    account = the("ServiceAccount", rendered)
    assert account["metadata"]["name"] == pod(rendered)["serviceAccountName"] == "robot"
    assert account["metadata"]["annotations"] == {"example.com/role": "reader"}
    assert the("ClusterRoleBinding", rendered)["subjects"][0]["name"] == "robot"


def test_a_second_operator_shares_no_name_and_no_pod_with_the_first() -> None:
    values = {"watchNamespaces": ["shop"], "crds": {"create": False}}
    first, second = render(values), render({**values, "fullnameOverride": "second"})
    assert not {identity(each) for each in first} & {identity(each) for each in second}
    selectors = [the("Deployment", found)["spec"]["selector"]["matchLabels"] for found in (first, second)]
    labels = [the("Deployment", found)["spec"]["template"]["metadata"]["labels"] for found in (first, second)]
    assert all(selector.items() <= own.items() for selector, own in zip(selectors, labels, strict=True))
    assert not selectors[1].items() <= labels[0].items()
    for found in (first, second):  # caches let in pods with this label
        assert (
            the("Deployment", found)["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
            == "vectorcache-operator"
        )


# The CRD


def test_the_crd_stays_when_the_release_goes() -> None:
    assert the("CustomResourceDefinition", render())["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep"
    }
    crd = the("CustomResourceDefinition", render({"crds": {"keep": False}}))
    assert "annotations" not in crd["metadata"]


def test_the_crd_can_come_from_elsewhere() -> None:
    assert not of("CustomResourceDefinition", render({"crds": {"create": False}}))


def test_the_crd_loses_nothing_on_its_way_through_the_chart() -> None:
    source = yaml.safe_load((MANIFESTS / "crd/vectorcaches.yaml").read_text())
    assert the("CustomResourceDefinition", render())["spec"] == source["spec"]


# The operator's pod


def test_images_take_a_registry_a_tag_and_digests() -> None:
    digest = "vectorcache/node@sha256:" + "0" * 64
    rendered = render({"image": {"registry": "example.com:5000/team/", "tag": "1.2.3", "node": digest}})
    assert pod(rendered)["containers"][0]["image"] == "example.com:5000/team/vectorcache/operator:1.2.3"
    assert (
        environment(rendered)["VECTORCACHE_ROUTER_IMAGE"] == "example.com:5000/team/vectorcache/router:1.2.3"
    )
    assert environment(rendered)["VECTORCACHE_NODE_IMAGE"] == f"example.com:5000/team/{digest}"
    assert the("Pod", rendered)["spec"]["containers"][0]["image"] == pod(rendered)["containers"][0]["image"]


def test_the_pod_takes_what_scheduling_and_pulling_want() -> None:
    values: dict[str, Any] = {
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
        },
        "priorityClassName": "high",
        "resources": {"limits": {"memory": "1Gi"}},
        "podLabels": {"team": "search", "app.kubernetes.io/name": "other"},
        "podAnnotations": {"example.com/note": "yes"},
        "extraEnv": [{"name": "VECTORCACHE_RESYNC", "value": "30s"}],
        "logLevel": "debug",
        "image": {"pullSecrets": [{"name": "pull"}], "pullPolicy": "Always"},
    }
    rendered = render(values)
    spec = pod(rendered)
    for key in ("nodeSelector", "tolerations", "affinity", "priorityClassName"):
        assert spec[key] == values[key]
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    container = spec["containers"][0]
    assert container["imagePullPolicy"] == "Always"
    assert container["resources"] == {
        "limits": {"memory": "1Gi"},
        "requests": {"cpu": "50m", "memory": "128Mi"},
    }
    assert {"VECTORCACHE_RESYNC": "30s", "VECTORCACHE_LOG_LEVEL": "debug"}.items() <= environment(
        rendered
    ).items()
    metadata = the("Deployment", rendered)["spec"]["template"]["metadata"]
    assert metadata["labels"]["team"] == "search"
    assert (
        metadata["labels"]["app.kubernetes.io/name"] == "vectorcache-operator"
    )  # what it is found by is no setting
    assert metadata["annotations"]["example.com/note"] == "yes"


def test_common_labels_and_annotations_are_on_everything() -> None:
    values = {"commonLabels": {"team": "search"}, "commonAnnotations": {"example.com/owner": "me"}}
    rendered = render({**values, "cache": CACHE, "serviceMonitor": {"create": True}}, *KNOWS_CACHES)
    assert len(rendered) == 12
    for one in rendered:
        assert one["metadata"]["labels"]["team"] == "search"
        assert one["metadata"]["annotations"]["example.com/owner"] == "me"


def restricted(spec: Any) -> None:
    """What Kubernetes' restricted profile asks of a pod, and a read-only root."""
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_pods_are_restricted() -> None:
    rendered = render()
    restricted(pod(rendered))
    restricted(the("Pod", rendered)["spec"])


# Around it


def test_metrics_can_be_for_some_only() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    rendered = render({"networkPolicy": {"metricsFrom": [peer], "apiServerPorts": [7443]}})
    policy = the("NetworkPolicy", rendered)["spec"]
    tests = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "vectorcache-test"}}}
    assert policy["ingress"][0]["from"] == [tests, peer]
    assert the("Pod", rendered)["metadata"]["labels"]["app.kubernetes.io/name"] == "vectorcache-test"
    assert {"port": 7443, "protocol": "TCP"} in policy["egress"][1]["ports"]
    assert not of("NetworkPolicy", render({"networkPolicy": {"create": False}}))


def test_a_service_monitor_finds_the_service() -> None:
    assert not of("ServiceMonitor", render())
    rendered = render(
        {"serviceMonitor": {"create": True, "interval": "5s", "labels": {"release": "prometheus"}}}
    )
    monitor, service = the("ServiceMonitor", rendered), the("Service", rendered)
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"] == [{"port": "http", "path": "/metrics", "interval": "5s"}]
    assert service["spec"]["ports"][0]["name"] == "http"


# A cache from values


def test_a_cache_comes_from_values() -> None:
    spec = {"blob": {"url": "azure://account/container"}, "router": {"service": {"port": 80}}}
    values = {
        "create": True,
        "name": "123",
        "namespace": "shop",
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
        "spec": spec,
    }
    rendered = render({"cache": values}, *KNOWS_CACHES)
    cache = the("VectorCache", rendered)
    assert identity(cache) == ("vectorcache.io/v1alpha1", "VectorCache", "shop", "123")
    assert cache["spec"] == spec
    assert cache["metadata"]["labels"]["a"] == "b"
    assert cache["metadata"]["annotations"] == {"c": "d"}
    assert the("Pod", rendered)["spec"]["containers"][0]["args"][2:] == [
        "http://vectorcache-operator.vectorcache-system.svc:8080/readyz",
        "http://123-router.shop.svc:80/readyz",
    ]


def test_a_cache_waits_for_the_crd_with_a_message() -> None:
    with pytest.raises(Refused, match=r"Install with cache\.create=false first"):
        render({"cache": CACHE})


def test_no_registry_and_no_host_is_built_in() -> None:
    rendered = render({"cache": CACHE}, *KNOWS_CACHES)
    images = {
        pod(rendered)["containers"][0]["image"],
        *(environment(rendered)[f"VECTORCACHE_{x}_IMAGE"] for x in ("NODE", "ROUTER")),
    }
    assert images == {f"vectorcache/{name}:{__version__}" for name in ("operator", "node", "router")}


def notes(values: dict[str, Any], *flags: str) -> str:
    """What ``helm install`` would print at its end."""
    command = ("install", "vectorcache", str(CHART), "--dry-run=client", *flags, "--values", "-")
    return run("helm", *command, input=json.dumps(values)).partition("NOTES:")[2]


def test_notes_say_what_to_do_next() -> None:
    text = notes({})
    for words in (
        "rollout status",
        "helm test",
        "kind: VectorCache",
        "credentialsSecret",
        "helm uninstall keeps the CRD",
    ):
        assert words in text
    assert "The chart did not install the CRD" in notes({"crds": {"create": False}})
    assert "namespaces: shop, search." in notes({"watchNamespaces": ["shop", "search"]})


def test_the_example_in_the_notes_is_a_cache() -> None:
    example = notes({}).partition("<<END\n")[2].partition("    END")[0]
    cache = yaml.safe_load(example)
    assert cache["kind"] == "VectorCache"
    assert cache["spec"]["blob"].keys() == {"url", "credentialsSecret"}


@pytest.mark.parametrize("path", sorted(CHART.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CHART)))
def test_no_file_names_this_machine(path: Path) -> None:
    assert str(ROOT) not in path.read_text()
