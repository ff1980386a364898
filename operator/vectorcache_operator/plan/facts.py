"""What a plan depends on beside the resource."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Images:
    """Where a resource names no image of its own."""

    node: str
    router: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a resource's surroundings.

    Attributes:
        images: what runs where the spec names no image.
        disk: capacity of a node's volume: what the spec asks for, or what cannot be changed.
        credentials: hash of the Secret, None where the resource has none.
        router_account: uid of the routers' ServiceAccount: a token is worth nothing once its account was made anew.
        operator_namespace: where the operator's pods are, which may reach the others.
        service_monitors: whether the cluster knows ServiceMonitors.
    """

    images: Images
    disk: str
    credentials: str | None = None
    router_account: str | None = None
    operator_namespace: str = "vectorcache-system"
    service_monitors: bool = False
