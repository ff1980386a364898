"""Build the objects that a resource should own, from the resource and facts about the cluster.

Contains one builder per kind, and ``plan``, which calls them all. Pure: nothing here reads or writes the cluster.
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
    """Return every object that the resource should own, in the order in which they must be applied.

    The ring's ConfigMap precedes the StatefulSet, so that it contains a new node before the node starts.
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
