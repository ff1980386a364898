"""Inputs of the plan in addition to the resource."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Images:
    """Default images."""

    node: str
    router: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about the cluster.

    Attributes:
        images: images of pods for which the spec names none.
        disk: capacity of a node's volume: that of the spec, or the present one if it cannot be changed.
        credentials: hash of the Secret; None if the resource names none.
        router_account: uid of the routers' ServiceAccount. A new account invalidates the tokens of running pods.
        operator_namespace: namespace of the operator's pods, which may connect to nodes and routers.
        service_monitors: whether the cluster has the kind ServiceMonitor.
    """

    images: Images
    disk: str
    credentials: str | None = None
    router_account: str | None = None
    operator_namespace: str = "vectorcache-system"
    service_monitors: bool = False
