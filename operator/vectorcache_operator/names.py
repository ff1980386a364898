"""Every name that goes into the cluster: of the resource, labels, annotations, ports, owned objects."""

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
"""What the operator watches of the kinds that it owns, their pods and claims included."""

PREFIX = f"{GROUP}/"
ANNOTATION_APPLIED = f"{PREFIX}applied"
"""Hash of the object as it was last applied."""
ANNOTATION_CREDENTIALS = f"{PREFIX}credentials"
"""On pod templates: hash of the credentials, so that a change of them rolls the pods."""
ANNOTATION_ACCOUNT = f"{PREFIX}service-account"
"""On the routers' pod template: uid of their ServiceAccount, so that another one rolls the pods."""
ANNOTATION_CLIENT_ID = "azure.workload.identity/client-id"
ANNOTATION_TENANT_ID = "azure.workload.identity/tenant-id"

NODE = "node"
ROUTER = "router"
HTTP = "http"
PORT = 8080
CLAIM = "cache"
RING_FILE = "ring.json"


class Key(NamedTuple):
    """Which resource: what the work queue holds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def node(name: str) -> str:
    """StatefulSet, headless Service, ServiceAccount and so on of the nodes."""
    return f"{name}-{NODE}"


def router(name: str) -> str:
    """Deployment, Service, ServiceAccount, Role and so on of the routers."""
    return f"{name}-{ROUTER}"


def pod(name: str, ordinal: int) -> str:
    """A node's pod, which is its name on the ring."""
    return f"{node(name)}-{ordinal}"


def endpoint(key: Key, port: int) -> str:
    """Where searches go, from inside the cluster."""
    return f"http://{router(key.name)}.{key.namespace}.svc:{port}"


def labels(name: str, component: str | None = None) -> dict[str, str]:
    """The labels of an owned object."""
    return selector(name, component) | {LABEL_MANAGED_BY: OPERATOR}


def selector(name: str, component: str | None = None) -> dict[str, str]:
    """The labels that select a resource's objects; never change for a resource."""
    chosen = {LABEL_NAME: PRODUCT, LABEL_INSTANCE: name}
    return chosen | ({LABEL_COMPONENT: component} if component else {})


def selector_text(name: str, component: str) -> str:
    """The same as text, as the scale subresource wants it."""
    return ",".join(f"{key}={value}" for key, value in selector(name, component).items())
