"""The NetworkPolicies: only routers may connect to nodes; the clients of routers are configurable."""

from __future__ import annotations

from typing import Any

from vectorcache_operator import kinds, names
from vectorcache_operator.kinds import Object
from vectorcache_operator.plan.base import new_object, selecting
from vectorcache_operator.plan.facts import Facts
from vectorcache_operator.spec import Resource

_NAMESPACE = "kubernetes.io/metadata.name"


def network_policies(resource: Resource, facts: Facts) -> list[Object]:
    """Return the policy of the nodes, and that of the routers if the resource sets ``router.allowFrom``.

    If the cluster has ServiceMonitors, Prometheus pods may connect too, because metrics are on the same port.
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
