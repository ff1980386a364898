"""The StatefulSet of the nodes."""

from __future__ import annotations

from vectorcache_operator import kinds, names, quantity
from vectorcache_operator.kinds import Object
from vectorcache_operator.plan import pod
from vectorcache_operator.plan.base import new_object, selecting
from vectorcache_operator.plan.facts import Facts
from vectorcache_operator.spec import Resource

DATA = "/var/lib/vectorcache"
CONFIG = "/etc/vectorcache"

DISK_SHARE = 95
"""Percentage of the volume that the cache uses; the file system needs the rest."""

_MEBIBYTE = 2**20


def stateful_set(resource: Resource, facts: Facts) -> Object:
    """Return the StatefulSet.

    Nodes start and stop in any order (Parallel), because they do not depend on each other, and because a broken image
    can then be replaced, unlike with OrderedReady. Updates go from the highest ordinal, each waiting for readiness.
    """
    name, policy = names.node(resource.name), resource.spec.deletion_policy
    spec = {
        "replicas": resource.spec.nodes.replicas,
        "serviceName": name,
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate"},
        "revisionHistoryLimit": 5,
        "selector": selecting(resource, names.NODE),
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": policy, "whenScaled": policy},
        "template": _template(resource, facts),
        "volumeClaimTemplates": [_claim(resource, facts)],
    }
    return new_object(kinds.STATEFUL_SET, resource, name, names.NODE, spec=spec)


def _template(resource: Resource, facts: Facts) -> Object:
    nodes = resource.spec.nodes
    container = pod.container(
        resource,
        names.NODE,
        facts.images.node,
        nodes,
        _environment(resource, facts),
        _resources(resource),
        [
            {"name": names.CLAIM, "mountPath": DATA},
            {"name": "ring", "mountPath": CONFIG, "readOnly": True},
        ],
    )
    return pod.template(
        resource,
        facts,
        names.NODE,
        nodes,
        container,
        serviceAccountName=names.node(resource.name),
        automountServiceAccountToken=False,
        volumes=[{"name": "ring", "configMap": {"name": resource.name}}, pod.temporary()],
    )


def _environment(resource: Resource, facts: Facts) -> dict[str, str | Object]:
    spec = resource.spec
    return {
        "NAME": {"fieldRef": {"fieldPath": "metadata.name"}},
        "LISTEN": f"0.0.0.0:{names.PORT}",
        "BLOB_URL": spec.blob.url,
        "DATA": DATA,
        "MEMORY": spec.nodes.memory.capacity,
        "DISK": str(quantity.size(facts.disk) * DISK_SHARE // 100),
        "RING_FILE": f"{CONFIG}/{names.RING_FILE}",
        "WARMUP_TIMEOUT": spec.nodes.warmup.timeout,
        "DRAIN_DELAY": pod.DRAIN_DELAY,
        "SHUTDOWN_TIMEOUT": pod.SHUTDOWN_TIMEOUT,
        "LOG_LEVEL": spec.log_level,
    }


def _resources(resource: Resource) -> Object:
    """Return the default resources: the memory layer, a quarter more for loads and responses, and 512 MiB."""
    memory = quantity.size(resource.spec.nodes.memory.capacity)
    room = quantity.mebibytes(memory + memory // 4 + 512 * _MEBIBYTE)
    return {"requests": {"cpu": "250m", "memory": room}, "limits": {"memory": room}}


def _claim(resource: Resource, facts: Facts) -> Object:
    spec: Object = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": facts.disk}},
    }
    if resource.spec.nodes.disk.storage_class_name:
        spec["storageClassName"] = resource.spec.nodes.disk.storage_class_name
    # Claim templates have no merge key in server-side apply, so each is a complete object.
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": names.CLAIM, "labels": names.labels(resource.name, names.NODE)},
        "spec": spec,
    }
