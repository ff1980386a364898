"""The ServiceMonitor of the Prometheus operator."""

from __future__ import annotations

from vectorcache_operator import kinds, names
from vectorcache_operator.kinds import Object
from vectorcache_operator.plan.base import new_object
from vectorcache_operator.spec import Resource


def service_monitor(resource: Resource) -> Object:
    """Return the ServiceMonitor of nodes and routers."""
    spec = {
        "selector": {"matchLabels": names.selector(resource.name)},
        "endpoints": [{"port": names.HTTP, "path": "/metrics"}],
        "targetLabels": [names.LABEL_INSTANCE, names.LABEL_COMPONENT],
    }
    return new_object(kinds.SERVICE_MONITOR, resource, resource.name, spec=spec)
