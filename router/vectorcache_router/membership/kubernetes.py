"""Membership from the pods of a StatefulSet, watched through the Kubernetes API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

import msgspec

from vectorcache.errors import Conflict, InvalidInput, Unavailable
from vectorcache_router.membership.api import ApiRefused, Connect
from vectorcache_router.membership.base import Members, Membership
from vectorcache_router.membership.objects import PodObject, Scale, StatefulSetObject, decoder, pod_of
from vectorcache_router.membership.presence import ContactClock, Presence
from vectorcache_router.membership.watch import Watch

GROUP_VERSION, PLURAL = "vectorcache.io/v1alpha1", "vectorcaches"
FIELD_MANAGER = "vectorcache-router"

SCALE_SECONDS = 2.0
"""Timeout of a read of the desired number of nodes. After it, the last number seen by the watch is used."""

SCALE_KEPT = 1.0
"""Seconds for which a read is cached, so that callers of the router cannot overload the API."""

_INVALID = (400, 422)
_scale = msgspec.json.Decoder(Scale).decode


class KubernetesMembership(Membership):
    """The nodes of one VectorCache resource.

    ``Presence`` decides which nodes are on the ring. While the API does not respond, nothing changes, and grace periods
    are paused.

    Args:
        connect: opens connections to the API.
        resource: ``namespace/name`` of the VectorCache.
        grace: seconds for which a node that is not ready keeps its place on the ring.
        clock: monotonic seconds.
    """

    def __init__(
        self, connect: Connect, resource: str, grace: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        namespace, _, name = resource.partition("/")
        statefulset = f"{name}-node"
        self._connect = connect
        self._clock = clock
        self._contact = ContactClock(clock)
        self._presence = Presence(statefulset, grace)
        self._restored = False
        self._changed = asyncio.Event()
        self._lost_at: float | None = None
        self._scale_path = f"/apis/{GROUP_VERSION}/namespaces/{namespace}/{PLURAL}/{name}/scale"
        self._scale_lock = asyncio.Lock()
        self._scale_known: tuple[int, float] | None = None
        labels = {"name": "vectorcache", "instance": name, "component": "node"}
        selector = ",".join(f"app.kubernetes.io/{label}={value}" for label, value in labels.items())
        self._pods: Watch[PodObject] = Watch(
            connect,
            f"/api/v1/namespaces/{namespace}/pods",
            [("labelSelector", selector)],
            decoder(PodObject).decode,
            heard=self._heard,
            failed=self._failed,
            clock=clock,
        )
        self._sets: Watch[StatefulSetObject] = Watch(
            connect,
            f"/apis/apps/v1/namespaces/{namespace}/statefulsets",
            [("fieldSelector", f"metadata.name={statefulset}")],
            decoder(StatefulSetObject).decode,
            heard=self._changed.set,
            failed=self._changed.set,
            clock=clock,
        )

    async def changes(self) -> AsyncGenerator[Members]:
        """Yield the nodes once the pods and the StatefulSet have been listed, and again after every change."""
        watches = [asyncio.create_task(watch.run()) for watch in (self._pods, self._sets)]
        known: Members | None = None
        try:
            while True:
                self._changed.clear()
                if self._pods.listed and self._sets.listed:
                    members = self._decide()
                    if members != known:
                        known = members
                        yield members
                await self._next_change()
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)

    async def desired(self) -> int | None:
        """Return the number in the resource's spec, or the last known one of the StatefulSet if the API fails."""
        async with self._scale_lock:
            known = self._scale_known
            if known is not None and self._clock() - known[1] < SCALE_KEPT:
                return known[0]
            try:
                async with asyncio.timeout(SCALE_SECONDS), self._connect() as api:
                    replicas = self._keep(await api.read(self._scale_path))
            except (TimeoutError, Unavailable, ApiRefused):
                return self._replicas()
        return replicas

    async def resize(self, count: int) -> None:
        """Change the resource's number of nodes.

        Raises:
            InvalidInput: a validation rule of the resource forbids this number.
            Conflict: the API refuses the change for another reason, such as missing permissions or no such resource.
            Unavailable: the API does not respond.
        """
        try:
            async with self._connect() as api:
                query = [("fieldManager", FIELD_MANAGER)]
                self._keep(await api.merge(self._scale_path, query, {"spec": {"replicas": count}}))
        except ApiRefused as error:
            if error.status in _INVALID:
                raise InvalidInput("count", count, error.message) from error
            raise Conflict(str(error)) from error

    def warnings(self) -> list[str]:
        """Return a warning with duration and cause if the nodes cannot be watched."""
        failure = self._pods.failure or self._sets.failure
        if not failure:
            return []
        since = "" if self._lost_at is None else f" for {self._clock() - self._lost_at:.0f} s"
        return [f"the list of nodes has not been updated{since}: {failure}"]

    def _decide(self) -> Members:
        pods = [pod_of(pod) for pod in self._pods.objects.values()]
        now = self._contact.seconds
        if not self._restored:
            self._presence.restore(pods, self._pods.looked_at, now)
            self._restored = True
        return self._presence.decide(pods, self._replicas(), now)

    async def _next_change(self) -> None:
        """Wait for an event of the watches. When a grace period ends, list the pods to confirm it."""
        end = self._presence.next_end()
        if end is not None and self._contact.running:
            try:
                async with asyncio.timeout(max(0.0, end - self._contact.expected())):
                    await self._changed.wait()
                return
            except TimeoutError:
                self._pods.look_again()
        await self._changed.wait()

    def _heard(self) -> None:
        self._contact.contact()
        self._lost_at = None
        self._changed.set()

    def _failed(self) -> None:
        self._contact.lost()
        if self._lost_at is None:
            self._lost_at = self._clock()
        self._changed.set()

    def _replicas(self) -> int | None:
        found = next(iter(self._sets.objects.values()), None)
        return None if found is None else found.spec.replicas

    def _keep(self, scale: bytes) -> int:
        try:
            replicas = _scale(scale).spec.replicas
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unavailable(f"the Kubernetes API returned an invalid Scale: {error}") from error
        self._scale_known = (replicas, self._clock())
        return replicas
