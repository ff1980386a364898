"""From a resource and what is known about its surroundings to the objects that should exist. Pure: no clock, no API.

What lives here: one builder per kind, and ``plan``, which names them all in the order in which they are applied.
What never does: reading or writing the cluster.
"""

from __future__ import annotations

from vectorcache_operator.kinds import Object
from vectorcache_operator.plan.access import role, role_binding, service_accounts
from vectorcache_operator.plan.config import ring_config
from vectorcache_operator.plan.deployment import deployment
from vectorcache_operator.plan.disruption import disruption_budgets
from vectorcache_operator.plan.facts import Facts, Images
from vectorcache_operator.plan.monitor import service_monitor
from vectorcache_operator.plan.network import network_policies
from vectorcache_operator.plan.service import services
from vectorcache_operator.plan.statefulset import stateful_set
from vectorcache_operator.spec import Resource

__all__ = ["Facts", "Images", "plan"]


def plan(resource: Resource, facts: Facts) -> list[Object]:
    """Every object that the resource should own, in the order in which they are to be applied.

    The ring's ConfigMap comes before the StatefulSet, so that a new node finds itself in it.
    """
    return [
        *service_accounts(resource),
        role(resource),
        role_binding(resource),
        ring_config(resource),
        *services(resource),
        *network_policies(resource, facts),
        *disruption_budgets(resource),
        *([service_monitor(resource)] if facts.service_monitors else []),
        stateful_set(resource, facts),
        deployment(resource, facts),
    ]
