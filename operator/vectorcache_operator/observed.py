"""The input of ``decide``: everything that one pass over a resource has observed. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from vectorcache_operator import kinds, names
from vectorcache_operator.changes import Result
from vectorcache_operator.kinds import Kind, Object, labels_of
from vectorcache_operator.plan import Images
from vectorcache_operator.routers import RouterView
from vectorcache_operator.spec import Resource
from vectorcache_operator.status import Workloads


@dataclass(slots=True)
class Surroundings:
    """Facts that are the same for all resources. ``service_monitors`` is updated by the resync."""

    images: Images
    operator_namespace: str
    service_monitors: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API's latest refusal to let claims grow to ``capacity``."""

    capacity: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Observed:
    """A snapshot of one resource.

    Attributes:
        resource: the decoded resource.
        status: its status as last written.
        surroundings: facts that are the same for all resources.
        objects: live objects by kind and name, whether the resource owns them or only needs their names.
        pods: pods of the resource, nodes and routers.
        claims: volume claims of the nodes.
        credentials: hash of the Secret that the resource names; None if the Secret is missing or empty, or not named.
        routers: latest report of the routers; None if it is too early for one.
        ring: the ring over the ready nodes, in the form of the status.
        refusal: the API's latest refusal to let claims grow.
        results: results of the writes of this pass so far.
    """

    resource: Resource
    status: Object
    surroundings: Surroundings
    objects: Mapping[tuple[Kind, str], Object]
    pods: tuple[Object, ...] = ()
    claims: tuple[Object, ...] = ()
    credentials: str | None = None
    routers: RouterView | None = None
    ring: Object = field(default_factory=dict)
    refusal: Refusal | None = None
    results: tuple[Result, ...] = ()

    @property
    def stateful_set(self) -> Object | None:
        """The live StatefulSet of the nodes."""
        return self.objects.get((kinds.STATEFUL_SET, names.node(self.resource.name)))

    @property
    def router_account(self) -> Object | None:
        """The live ServiceAccount of the routers."""
        return self.objects.get((kinds.SERVICE_ACCOUNT, names.router(self.resource.name)))

    @property
    def workloads(self) -> Workloads:
        """The part that the status depends on."""
        return Workloads(
            stateful_set=self.stateful_set,
            deployment=self.objects.get((kinds.DEPLOYMENT, names.router(self.resource.name))),
            node_pods=[pod for pod in self.pods if labels_of(pod).get(names.LABEL_COMPONENT) == names.NODE],
            routers=self.routers,
        )
