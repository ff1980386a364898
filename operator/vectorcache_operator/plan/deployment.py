"""The Deployment of the routers."""

from __future__ import annotations

from vectorcache_operator import kinds, names
from vectorcache_operator.kinds import Object
from vectorcache_operator.plan import pod
from vectorcache_operator.plan.base import new_object, selecting
from vectorcache_operator.plan.facts import Facts
from vectorcache_operator.spec import Resource

RESOURCES = {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}


def deployment(resource: Resource, facts: Facts) -> Object:
    """Return the Deployment. An update starts a new router first, and stops an old one when the new one is ready."""
    name = names.router(resource.name)
    spec = {
        "replicas": resource.spec.router.replicas,
        "revisionHistoryLimit": 5,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": selecting(resource, names.ROUTER),
        "template": _template(resource, facts),
    }
    return new_object(kinds.DEPLOYMENT, resource, name, names.ROUTER, spec=spec)


def _template(resource: Resource, facts: Facts) -> Object:
    router = resource.spec.router
    container = pod.container(
        resource, names.ROUTER, facts.images.router, router, _environment(resource), RESOURCES, []
    )
    return pod.template(
        resource,
        facts,
        names.ROUTER,
        router,
        container,
        serviceAccountName=names.router(resource.name),
        automountServiceAccountToken=True,
        volumes=[pod.temporary()],
    )


def _environment(resource: Resource) -> dict[str, str | Object]:
    spec = resource.spec
    environment: dict[str, str | Object] = {
        "LISTEN": f"0.0.0.0:{names.PORT}",
        "BLOB_URL": spec.blob.url,
        "KUBERNETES_RESOURCE": str(resource.key),
        "GRACE_PERIOD": spec.nodes.grace_period,
        "VIRTUAL_NODES": str(spec.ring.virtual_nodes),
        "REPLICATION": str(spec.ring.replication),
        "SHARD_BYTES": str(spec.shard_bytes),
        "K": str(spec.search.top_k),
        "TIMEOUT": spec.search.timeout,
        "DRAIN_DELAY": pod.DRAIN_DELAY,
        "SHUTDOWN_TIMEOUT": pod.SHUTDOWN_TIMEOUT,
        "LOG_LEVEL": spec.log_level,
    }
    if spec.search.nprobe is not None:
        environment["NPROBE"] = str(spec.search.nprobe)
    return environment
