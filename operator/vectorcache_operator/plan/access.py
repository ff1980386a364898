"""The ServiceAccounts of the pods, and the routers' permissions."""

from __future__ import annotations

from typing import Any

from vectorcache_operator import kinds, names
from vectorcache_operator.kinds import Object
from vectorcache_operator.plan.base import new_object
from vectorcache_operator.spec import Resource


def service_accounts(resource: Resource) -> list[Object]:
    """Return the accounts of nodes and routers. Only the routers' pods mount a token, because only they use the API."""
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
    """Return the routers' Role: to watch the nodes' pods, and to scale their resource."""
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
    """Return the binding of the Role to the routers' account."""
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
