"""VectorCache resources and what belongs to them, as the API would hand them out."""

from __future__ import annotations

import copy
import itertools
from datetime import UTC, datetime
from typing import Any

from vectorcache_operator import names
from vectorcache_operator.plan import Facts, Images
from vectorcache_operator.spec import Resource, decode

Object = dict[str, Any]

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
UID = "0b5f2f6e-0000-4000-8000-000000000001"
_versions = itertools.count(1000)

SMALL: Object = {"blob": {"url": "azure://account/container/prefix", "credentialsSecret": "blob"}}

FULL: Object = {
    "blob": {
        "url": "azure://account/container",
        "workloadIdentity": {"clientId": "client", "tenantId": "tenant"},
    },
    "nodes": {
        "replicas": 5,
        "memory": {"capacity": "4Gi"},
        "disk": {"capacity": "40Gi", "storageClassName": "fast"},
        "image": "example/node:2",
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"cpu": "2", "memory": "6Gi"}, "limits": {"memory": "6Gi"}},
        "gracePeriod": "90s",
        "warmup": {"timeout": "1m"},
        "scheduling": {
            "nodeSelector": {"disk": "nvme"},
            "tolerations": [{"key": "cache", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {"podAntiAffinity": {}},
            "topologySpreadConstraints": [],
            "priorityClassName": "high",
        },
        "podLabels": {"team": "search", names.LABEL_NAME: "not-this"},
        "podAnnotations": {"note": "kept"},
    },
    "ring": {"virtualNodes": 4096, "replication": 3},
    "router": {
        "replicas": 4,
        "image": "example/router:2",
        "service": {"type": "LoadBalancer", "port": 80, "annotations": {"internal": "true"}},
        "allowFrom": [{"namespaceSelector": {"matchLabels": {"team": "search"}}}],
    },
    "search": {"topK": 20, "nprobe": 32, "timeout": "500ms"},
    "imagePullSecrets": [{"name": "registry"}],
    "logLevel": "debug",
    "deletionPolicy": "Delete",
}

IMAGES = Images("vectorcache/node:1", "vectorcache/router:1")


def obj(name: str = "products", spec: Object = SMALL, namespace: str = "shop", **status: Any) -> Object:
    """A VectorCache."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": "VectorCache",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": UID,
            "generation": 7,
            "resourceVersion": str(next(_versions)),
        },
        "spec": copy.deepcopy(spec),
        "status": status,
    }


def resource(spec: Object = SMALL, name: str = "products") -> Resource:
    """The same, decoded."""
    return decode(obj(name, spec))


def facts(**changes: Any) -> Facts:
    """What is known about the surroundings."""
    return Facts(
        **{"images": IMAGES, "disk": "10Gi", "credentials": "abcdef0123456789", "router_account": "5ac0"}
        | changes
    )


def live(wanted: Object, **metadata: Any) -> Object:
    """An object as the API returns it once it is written."""
    copied = copy.deepcopy(wanted)
    copied["metadata"] |= {
        "uid": f"uid-{wanted['kind']}-{wanted['metadata']['name']}",
        "resourceVersion": str(next(_versions)),
        "generation": 1,
        "managedFields": [{"manager": "vectorcache-operator"}],
    } | metadata
    return copied


def pod(
    name: str, *, ready: bool = True, component: str = "node", revision: str = "r1", **status: Any
) -> Object:
    """A pod of the resource ``products``."""
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-11-21T11:59:00Z"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "resourceVersion": str(next(_versions)),
            "labels": names.labels("products", component) | {"controller-revision-hash": revision},
        },
        "status": {"conditions": [condition], **status},
    }


def claim(ordinal: int, size: str, phase: str = "Bound") -> Object:
    """A node's claim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": f"cache-products-node-{ordinal}",
            "namespace": "shop",
            "uid": f"uid-claim-{ordinal}",
            "resourceVersion": str(next(_versions)),
            "labels": names.labels("products", "node"),
        },
        "spec": {"resources": {"requests": {"storage": size}}},
        "status": {"phase": phase},
    }
