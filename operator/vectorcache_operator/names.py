"""All names that the operator uses in the cluster: API group, labels, annotations, ports, objects."""

from __future__ import annotations

from typing import NamedTuple

GROUP = "vectorcache.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FIELD_MANAGER = "vectorcache-operator"

LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_WORKLOAD_IDENTITY = "azure.workload.identity/use"

PRODUCT = "vectorcache"
OPERATOR = "vectorcache-operator"
PROMETHEUS = "prometheus"
OWNED_SELECTOR = f"{LABEL_MANAGED_BY}={OPERATOR}"
"""Label selector of the objects that the operator watches, including pods and claims."""

PREFIX = f"{GROUP}/"
ANNOTATION_APPLIED = f"{PREFIX}applied"
"""Fingerprint of the object that was last applied."""
ANNOTATION_CREDENTIALS = f"{PREFIX}credentials"
"""On pod templates: hash of the credentials, so that new credentials restart the pods."""
ANNOTATION_ACCOUNT = f"{PREFIX}service-account"
"""On the routers' pod template: uid of their ServiceAccount, so that a new account restarts the pods."""
ANNOTATION_CLIENT_ID = "azure.workload.identity/client-id"
ANNOTATION_TENANT_ID = "azure.workload.identity/tenant-id"

NODE = "node"
ROUTER = "router"
HTTP = "http"
PORT = 8080
CLAIM = "cache"
RING_FILE = "ring.json"


class Key(NamedTuple):
    """Namespace and name of a resource, the key of the work queue."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def node(name: str) -> str:
    """Return the name of the nodes' StatefulSet, headless Service, ServiceAccount and so on."""
    return f"{name}-{NODE}"


def router(name: str) -> str:
    """Return the name of the routers' Deployment, Service, ServiceAccount, Role and so on."""
    return f"{name}-{ROUTER}"


def pod(name: str, ordinal: int) -> str:
    """Return the name of a node's pod, which is also its name on the ring."""
    return f"{node(name)}-{ordinal}"


def endpoint(key: Key, port: int) -> str:
    """Return the URL of the routers' Service inside the cluster."""
    return f"http://{router(key.name)}.{key.namespace}.svc:{port}"


def labels(name: str, component: str | None = None) -> dict[str, str]:
    """Return the labels of an owned object."""
    return selector(name, component) | {LABEL_MANAGED_BY: OPERATOR}


def selector(name: str, component: str | None = None) -> dict[str, str]:
    """Return the labels that select a resource's objects. Selectors are immutable, so these labels never change."""
    chosen = {LABEL_NAME: PRODUCT, LABEL_INSTANCE: name}
    return chosen | ({LABEL_COMPONENT: component} if component else {})


def selector_text(name: str, component: str) -> str:
    """Return the selector as text, for the scale subresource."""
    return ",".join(f"{key}={value}" for key, value in selector(name, component).items())
