"""The NetworkPolicies: only routers reach nodes, and who reaches routers is a setting."""

from __future__ import annotations

from typing import Any

from vectorcache_operator import kinds, names
from vectorcache_operator.kinds import Object
from vectorcache_operator.plan.base import new_object, selecting
from vectorcache_operator.plan.facts import Facts
from vectorcache_operator.spec import Resource

_NAMESPACE = "kubernetes.io/metadata.name"


def network_policies(resource: Resource, facts: Facts) -> list[Object]:
    """One for the nodes; one for the routers, where the resource says who may reach them.

    Where the cluster knows ServiceMonitors, pods of Prometheus may read metrics: the port is the same.
    """
    others = [_operator(facts), *([_prometheus()] if facts.service_monitors else [])]
    routers = {"podSelector": selecting(resource, names.ROUTER)}
    policies = [_policy(resource, names.node(resource.name), names.NODE, [routers, *others])]
    if resource.spec.router.allow_from is not None:
        allowed = [*resource.spec.router.allow_from, *others]
        policies.append(_policy(resource, names.router(resource.name), names.ROUTER, allowed))
    return policies


def _policy(resource: Resource, name: str, component: str, peers: list[dict[str, Any]]) -> Object:
    spec = {
        "podSelector": selecting(resource, component),
        "policyTypes": ["Ingress"],
        "ingress": [{"from": peers, "ports": [{"port": names.PORT, "protocol": "TCP"}]}],
    }
    return new_object(kinds.NETWORK_POLICY, resource, name, component, spec=spec)


def _operator(facts: Facts) -> dict[str, Any]:
    return {
        "namespaceSelector": {"matchLabels": {_NAMESPACE: facts.operator_namespace}},
        "podSelector": {"matchLabels": {names.LABEL_NAME: names.OPERATOR}},
    }


def _prometheus() -> dict[str, Any]:
    return {"namespaceSelector": {}, "podSelector": {"matchLabels": {names.LABEL_NAME: names.PROMETHEUS}}}
