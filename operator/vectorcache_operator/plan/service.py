"""The Services: a headless one for the DNS names of the nodes, and the one of the routers for clients."""

from __future__ import annotations

from vectorcache_operator import kinds, names
from vectorcache_operator.kinds import Object
from vectorcache_operator.plan.base import new_object
from vectorcache_operator.spec import Resource


def services(resource: Resource) -> list[Object]:
    """Return both Services."""
    return [_nodes(resource), _routers(resource)]


def _nodes(resource: Resource) -> Object:
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": names.selector(resource.name, names.NODE),
        "ports": [_port(names.PORT)],
    }
    return new_object(kinds.SERVICE, resource, names.node(resource.name), names.NODE, spec=spec)


def _routers(resource: Resource) -> Object:
    service = resource.spec.router.service
    spec = {
        "type": service.type,
        "selector": names.selector(resource.name, names.ROUTER),
        "ports": [_port(service.port)],
    }
    return new_object(
        kinds.SERVICE,
        resource,
        names.router(resource.name),
        names.ROUTER,
        spec=spec,
        annotations=service.annotations,
    )


def _port(port: int) -> Object:
    return {"name": names.HTTP, "port": port, "protocol": "TCP", "targetPort": names.HTTP}
