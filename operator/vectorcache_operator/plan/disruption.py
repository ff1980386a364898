"""The PodDisruptionBudgets: a drain of a Kubernetes node takes one pod of a kind at a time."""

from __future__ import annotations

from vectorcache_operator import kinds, names
from vectorcache_operator.kinds import Object
from vectorcache_operator.plan.base import new_object, selecting
from vectorcache_operator.spec import Resource


def disruption_budgets(resource: Resource) -> list[Object]:
    """One for the nodes, one for the routers. Pods that are not ready never hold a drain up."""
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
