"""The schema as the API server enforces it: defaults, rules and their messages. Nothing is kept: all is a dry run."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.operator.kubectl import (
    Object,
    Refused,
    install_crd,
    kubectl,
    namespace,
    needs_cluster,
    vector_cache,
)

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    needs_cluster()
    install_crd()
    with namespace("crd") as name:
        yield name


def create(obj: Object) -> Object:
    """Return the object as the API server would store it."""
    made: Object = json.loads(
        kubectl("create", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-", given=obj)
    )
    return made


def changed(obj: Object, path: str, value: Any) -> Object:
    """Return a copy with one field of the spec set, or removed if the value is None."""
    copied = copy.deepcopy(obj)
    *parents, last = path.split(".")
    inside = copied["spec"]
    for parent in parents:
        inside = inside.setdefault(parent, {})
    if value is None:
        inside.pop(last)
    else:
        inside[last] = value
    return copied


def test_defaults_fill_what_a_minimal_resource_leaves_out(place: str) -> None:
    minimal = vector_cache("minimal", place) | {"spec": {"blob": {"url": "azure://account/container"}}}
    assert create(minimal)["spec"] == {
        "blob": {"url": "azure://account/container"},
        "nodes": {
            "replicas": 3,
            "memory": {"capacity": "1Gi"},
            "disk": {},
            "gracePeriod": "60s",
            "warmup": {"timeout": "30s"},
            "scheduling": {},
        },
        "ring": {"virtualNodes": 10000, "replication": 2},
        "router": {"replicas": 2, "service": {"type": "ClusterIP", "port": 8080}, "scheduling": {}},
        "search": {"topK": 10, "timeout": "2s"},
        "logLevel": "info",
        "deletionPolicy": "Retain",
    }


def test_everything_at_once(place: str) -> None:
    selector = {
        "matchLabels": {"team": "search"},
        "matchExpressions": [{"key": "tier", "operator": "Exists"}],
    }
    scheduling = {
        "nodeSelector": {"disk": "nvme"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "zone",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": selector,
            }
        ],
        "priorityClassName": "high",
    }
    full = vector_cache(
        "full",
        place,
        blob={"url": "azure://a/b/c", "workloadIdentity": {"clientId": "one", "tenantId": "two"}},
        nodes={
            "disk": {"capacity": "1Ti", "storageClassName": "fast"},
            "gracePeriod": "1.5m",
            "warmup": {"timeout": "500ms"},
            "resources": {"limits": {"cpu": 2, "memory": "1.5Gi"}},
            "scheduling": scheduling,
            "podLabels": {"team": "search"},
            "podAnnotations": {"note": "x" * 300},
        },
        router={
            "service": {"type": "LoadBalancer", "port": 80, "annotations": {"internal": "true"}},
            "allowFrom": [
                {"podSelector": selector, "namespaceSelector": {}},
                {"ipBlock": {"cidr": "10.0.0.0/8"}},
            ],
            "scheduling": scheduling,
        },
        search={"topK": 100, "nprobe": 32, "timeout": "1h"},
        ring={"virtualNodes": 100, "replication": 1},
        imagePullSecrets=[{"name": "registry"}],
        logLevel="debug",
        deletionPolicy="Delete",
    )
    made = create(full)["spec"]
    assert made["router"]["allowFrom"] == full["spec"]["router"]["allowFrom"]
    assert made["nodes"]["scheduling"] == scheduling


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("blob.url", None, "spec.blob.url: Required value"),
        ("blob.url", "s3://bucket", "spec.blob.url in body should match"),
        ("blob.url", "azure://a/b?sig=secret", "spec.blob.url in body should match"),
        ("blob.url", "azure://user:secret@a/b", "spec.blob.url in body should match"),
        ("blob.credentialsSecret", "No Name", "spec.blob.credentialsSecret in body should match"),
        ("nodes.replicas", -1, "greater than or equal to 0"),
        ("nodes.replicas", 1001, "less than or equal to 1000"),
        ("nodes.replicas", 1, "ring.replication must not exceed nodes.replicas"),
        ("nodes.memory.capacity", "4GB", "spec.nodes.memory.capacity in body should match"),
        ("nodes.memory.capacity", "1Mi", "memory.capacity must be at least 16Mi"),
        ("nodes.memory.capacity", 1024, "must be of type string"),
        ("nodes.disk.capacity", "15Mi", "disk.capacity (15Mi) must be at least memory.capacity (16Mi)"),
        ("nodes.gracePeriod", "60", "spec.nodes.gracePeriod in body should match"),
        ("nodes.warmup.timeout", "1d", "spec.nodes.warmup.timeout in body should match"),
        ("nodes.imagePullPolicy", "Sometimes", 'supported values: "Always", "IfNotPresent", "Never"'),
        (
            "nodes.resources.limits",
            {"memory": "lots"},
            "spec.nodes.resources.limits.memory in body should match",
        ),
        ("ring.virtualNodes", 0, "greater than or equal to 1"),
        ("ring.virtualNodes", 10**6, "less than or equal to 100000"),
        ("ring.replication", 17, "less than or equal to 16"),
        ("ring.replication", 3, "ring.replication must not exceed nodes.replicas"),
        ("router.service.type", "ExternalName", "Unsupported value"),
        ("router.service.port", 70000, "less than or equal to 65535"),
        ("router.allowFrom", [{}], "a peer needs podSelector, namespaceSelector or ipBlock"),
        (
            "router.allowFrom",
            [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}],
            "ipBlock cannot be combined",
        ),
        ("search.topK", 0, "greater than or equal to 1"),
        ("search.timeout", "2 s", "spec.search.timeout in body should match"),
        ("logLevel", "loud", "Unsupported value"),
        ("deletionPolicy", "Keep", "Unsupported value"),
        ("nodez", 3, 'unknown field "spec.nodez"'),
    ],
)
def test_what_is_not_allowed_is_refused_with_a_message(
    place: str, path: str, value: Any, message: str
) -> None:
    with pytest.raises(Refused) as refused:
        create(changed(vector_cache("refused", place), path, value))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("nodes.replicas", 0),
        ("ring.replication", 2),
        ("nodes.disk.capacity", "16Mi"),
        ("router.allowFrom", []),
    ],
)
def test_what_is_just_allowed(place: str, path: str, value: Any) -> None:
    create(changed(vector_cache("allowed", place), path, value))


def test_one_kind_of_credentials(place: str) -> None:
    both = {"url": "azure://a/b", "credentialsSecret": "one", "workloadIdentity": {"clientId": "two"}}
    with pytest.raises(Refused, match="set credentialsSecret or workloadIdentity, not both"):
        create(vector_cache("both", place, blob=both))


@pytest.mark.parametrize(
    ("name", "message"),
    [("n" * 41, "at most 40 characters"), ("9lives", "begin with a letter"), ("a.b", "begin with a letter")],
)
def test_names_that_would_not_fit_are_refused(place: str, name: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        create(vector_cache(name, place))


def test_ring_and_nodes_stay_within_what_a_ring_can_hold(place: str) -> None:
    large = vector_cache("large", place, nodes={"replicas": 1000}, ring={"virtualNodes": 10_001})
    with pytest.raises(Refused, match="must not exceed 10 million"):
        create(large)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("blob.url", "azure://account/container/other", "blob.url cannot be changed"),
        ("ring.virtualNodes", 5000, "ring.virtualNodes cannot be changed"),
        ("nodes.disk.storageClassName", "other", "disk.storageClassName cannot be changed"),
        ("nodes.replicas", 1, "ring.replication must not exceed nodes.replicas"),
    ],
)
def test_what_must_never_change(place: str, path: str, value: Any, message: str) -> None:
    obj = vector_cache("steady", place)
    kubectl("apply", "-f", "-", given=obj)
    with pytest.raises(Refused) as refused:
        kubectl("apply", "--dry-run=server", "-f", "-", given=changed(obj, path, value))
    assert message in str(refused.value)
    kubectl("apply", "--dry-run=server", "-f", "-", given=changed(obj, "nodes.replicas", 5))


def test_kubectl_scale_goes_through_the_rules(place: str) -> None:
    kubectl("apply", "-f", "-", given=vector_cache("scaled", place))
    kubectl("-n", place, "scale", "vectorcaches.vectorcache.io/scaled", "--replicas=4")
    with pytest.raises(Refused, match="ring.replication must not exceed nodes.replicas"):
        kubectl("-n", place, "scale", "vectorcaches.vectorcache.io/scaled", "--replicas=1")
    scale = json.loads(
        kubectl("get", "--raw", f"/apis/vectorcache.io/v1alpha1/namespaces/{place}/vectorcaches/scaled/scale")
    )
    assert scale["spec"]["replicas"] == 4


def test_explain_describes_every_field(place: str) -> None:
    text = kubectl("explain", "vectorcaches.spec", "--recursive", "--api-version=vectorcache.io/v1alpha1")
    assert "virtualNodes" in text
    assert "Number of nodes that own each slot" in kubectl(
        "explain", "vectorcaches.spec.ring.replication", "--api-version=vectorcache.io/v1alpha1"
    )
