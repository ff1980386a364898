"""The PodDisruptionBudgets: draining a Kubernetes node evicts one node and one router at a time."""

from __future__ import annotations

from vectorcache_operator import kinds, names
from vectorcache_operator.kinds import Object
from vectorcache_operator.plan.base import new_object, selecting
from vectorcache_operator.spec import Resource


def disruption_budgets(resource: Resource) -> list[Object]:
    """Return the budgets of nodes and routers. Pods that are not ready never block a drain."""
    return [
        new_object(
            kinds.POD_DISRUPTION_BUDGET,
            resource,
            name,
            component,
            spec={
                "maxUnavailable": 1,
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": selecting(resource, component),
            },
        )
        for name, component in (
            (names.node(resource.name), names.NODE),
            (names.router(resource.name), names.ROUTER),
        )
    ]
