"""Common parts of owned objects: name, labels, owner, selectors."""

from __future__ import annotations

from typing import Any

from vectorcache_operator import names
from vectorcache_operator.kinds import Kind, Object
from vectorcache_operator.spec import Resource


def new_object(
    kind: Kind, resource: Resource, name: str, component: str | None = None, **content: Any
) -> Object:
    """Return an object that the resource owns. ``annotations`` in the content are added to its metadata."""
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
    """Return the owner reference, because of which Kubernetes deletes an object with its resource.

    It does not block the owner's deletion, so the operator needs no permission for finalizers.
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
    """Return the label selector of the resource's nodes or routers."""
    return {"matchLabels": names.selector(resource.name, component)}


def without_empty(content: Object) -> Object:
    """Return the content without empty fields, so that Kubernetes' defaults apply to them."""
    return {key: value for key, value in content.items() if value not in (None, "", [], {})}
