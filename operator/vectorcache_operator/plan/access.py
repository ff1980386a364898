"""Who the pods are, and what routers may ask the API for."""

from __future__ import annotations

from typing import Any

from vectorcache_operator import kinds, names
from vectorcache_operator.kinds import Object
from vectorcache_operator.plan.base import new_object
from vectorcache_operator.spec import Resource


def service_accounts(resource: Resource) -> list[Object]:
    """Accounts of nodes and routers; only routers talk to the API, so only they get a token (by their pods)."""
    return [
        new_object(
            kinds.SERVICE_ACCOUNT,
            resource,
            name,
            component,
            automountServiceAccountToken=False,
            annotations=_identity(resource),
        )
        for name, component in (
            (names.node(resource.name), names.NODE),
            (names.router(resource.name), names.ROUTER),
        )
    ]


def role(resource: Resource) -> Object:
    """What a router does: follow the nodes' pods, and resize its own resource."""
    name = names.router(resource.name)
    return new_object(
        kinds.ROLE,
        resource,
        name,
        names.ROUTER,
        rules=[
            _rule("", "pods", ["get", "list", "watch"]),
            _rule("apps", "statefulsets", ["get", "list", "watch"], names.node(resource.name)),
            _rule(names.GROUP, "vectorcaches/scale", ["get", "patch", "update"], resource.name),
        ],
    )


def role_binding(resource: Resource) -> Object:
    """The role is the routers'."""
    name = names.router(resource.name)
    return new_object(
        kinds.ROLE_BINDING,
        resource,
        name,
        names.ROUTER,
        roleRef={"apiGroup": kinds.ROLE.group, "kind": "Role", "name": name},
        subjects=[{"kind": "ServiceAccount", "name": name, "namespace": resource.key.namespace}],
    )


def _rule(group: str, plural: str, verbs: list[str], name: str | None = None) -> dict[str, Any]:
    rule: dict[str, Any] = {"apiGroups": [group], "resources": [plural], "verbs": verbs}
    return rule | ({"resourceNames": [name]} if name else {})


def _identity(resource: Resource) -> dict[str, str]:
    identity = resource.spec.blob.workload_identity
    if identity is None:
        return {}
    tenant = {names.ANNOTATION_TENANT_ID: identity.tenant_id} if identity.tenant_id else {}
    return {names.ANNOTATION_CLIENT_ID: identity.client_id} | tenant
