"""What every owned object has: name, labels, owner."""

from __future__ import annotations

from typing import Any

from vectorcache_operator import names
from vectorcache_operator.kinds import Kind, Object
from vectorcache_operator.spec import Resource


def new_object(
    kind: Kind, resource: Resource, name: str, component: str | None = None, **content: Any
) -> Object:
    """An object owned by the resource; ``annotations`` among the content go into its metadata."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": resource.key.namespace,
        "labels": names.labels(resource.name, component),
        "ownerReferences": [owner(resource)],
    }
    annotations = content.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **content}


def owner(resource: Resource) -> Object:
    """The reference by which Kubernetes removes an object with its resource.

    It blocks no deletion, so the operator needs no right on finalizers.
    """
    return {
        "apiVersion": names.API_VERSION,
        "kind": "VectorCache",
        "name": resource.name,
        "uid": resource.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def selecting(resource: Resource, component: str) -> Object:
    """A label selector of the resource's nodes or routers."""
    return {"matchLabels": names.selector(resource.name, component)}


def without_empty(content: Object) -> Object:
    """The fields that say something: what is None, empty text, list or object is left to Kubernetes' default."""
    return {key: value for key, value in content.items() if value not in (None, "", [], {})}
