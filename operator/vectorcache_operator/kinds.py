"""The kinds of objects that the operator reads or writes, with their API paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vectorcache_operator.names import GROUP, VERSION

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. ``group`` is empty for the core API."""

    group: str
    version: str
    name: str
    plural: str

    @property
    def api_version(self) -> str:
        """The value of the field ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """Return the path of a collection (in one namespace or all), of an object, or of its subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if namespace else ""
        which = f"/{name}" if name else ""
        return f"{root}{inside}/{self.plural}{which}{f'/{subresource}' if subresource else ''}"

    def __str__(self) -> str:
        return self.name


VECTOR_CACHE = Kind(GROUP, VERSION, "VectorCache", "vectorcaches")
STATEFUL_SET = Kind("apps", "v1", "StatefulSet", "statefulsets")
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
SERVICE = Kind("", "v1", "Service", "services")
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
ROLE = Kind("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDING = Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
POD_DISRUPTION_BUDGET = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
SERVICE_MONITOR = Kind("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors")
POD = Kind("", "v1", "Pod", "pods")
CLAIM = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
SECRET = Kind("", "v1", "Secret", "secrets")
EVENT = Kind("", "v1", "Event", "events")

APPLIED = (
    STATEFUL_SET,
    DEPLOYMENT,
    SERVICE,
    SERVICE_ACCOUNT,
    CONFIG_MAP,
    ROLE,
    ROLE_BINDING,
    POD_DISRUPTION_BUDGET,
    NETWORK_POLICY,
)
"""The kinds that every resource owns."""

OBSERVED = (*APPLIED, POD, CLAIM)
"""The kinds that are watched for every resource, in addition to ServiceMonitors if the cluster has them."""

BY_NAME = {kind.name: kind for kind in (VECTOR_CACHE, *OBSERVED, SERVICE_MONITOR)}


def kind_of(obj: Object) -> Kind:
    """Return the kind of a complete object."""
    return BY_NAME[obj["kind"]]


def name_of(obj: Object) -> str:
    """Return ``metadata.name``."""
    name: str = obj["metadata"]["name"]
    return name


def namespace_of(obj: Object) -> str:
    """Return ``metadata.namespace``."""
    namespace: str = obj["metadata"]["namespace"]
    return namespace


def labels_of(obj: Object) -> dict[str, str]:
    """Return the labels, or an empty mapping."""
    found: dict[str, str] = obj["metadata"].get("labels") or {}
    return found


def annotations_of(obj: Object) -> dict[str, str]:
    """Return the annotations, or an empty mapping."""
    found: dict[str, str] = obj["metadata"].get("annotations") or {}
    return found


def version_of(obj: Object) -> int:
    """Return the resource version, which grows with every write (a number by definition since Kubernetes 1.35)."""
    return int(obj["metadata"].get("resourceVersion") or 0)


def is_terminating(obj: Object) -> bool:
    """Return whether the object is being deleted."""
    return bool(obj["metadata"].get("deletionTimestamp"))
