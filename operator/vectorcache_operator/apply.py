"""All writes to the Kubernetes API: objects by server-side apply with one field manager, claims, status and Events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from vectorcache_operator import kinds, names
from vectorcache_operator.cache import WatchCache
from vectorcache_operator.changes import Apply, Cause, Delete, Resize, Result, Write
from vectorcache_operator.diff import stamped
from vectorcache_operator.errors import ApiConflict, ApiGone, ApiRefused, NamespaceTerminating, NameTaken
from vectorcache_operator.kinds import Object, kind_of, name_of, namespace_of
from vectorcache_operator.kube import Kube
from vectorcache_operator.metrics import OperatorMetrics
from vectorcache_operator.names import Key


@dataclass(frozen=True, slots=True)
class Applier:
    """Executes writes. The API's answers enter the watch cache immediately, before the watches deliver them.

    All methods raise ``ApiUnavailable`` if the API does not answer, and ``NamespaceTerminating``.
    """

    kube: Kube
    cache: WatchCache
    metrics: OperatorMetrics

    async def run(self, key: Key, writes: Sequence[Write]) -> tuple[Result, ...]:
        """Execute writes in their order and return their results. A write that the API refuses does not stop the rest,
        except for claims: if one of them may not grow, the others are not tried.
        """
        results = []
        for write in writes:
            result = await self._result(write)
            results.append(result)
            if result.error is None:
                self._count(key, write.target[0].name)
            elif isinstance(write, Resize):
                break
        return tuple(results)

    async def write_status(self, key: Key, status: Object) -> None:
        """Write the status of a resource.

        Raises:
            ApiRefused: the API refused it, for example because the resource was deleted.
        """
        body = {
            "apiVersion": names.API_VERSION,
            "kind": kinds.VECTOR_CACHE.name,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "status": status,
        }
        self.cache.put(kinds.VECTOR_CACHE, await self.kube.apply(body, force=True, subresource="status"))
        self._count(key, "status")

    async def create_event(self, event: Object) -> None:
        """Create a Kubernetes Event.

        Raises:
            ApiRefused: the API refused it.
        """
        await self.kube.create(kinds.EVENT, namespace_of(event), event)

    async def _result(self, write: Write) -> Result:
        try:
            if isinstance(write, Apply):
                await self._apply(write)
            elif isinstance(write, Delete):
                await self._delete(write)
            else:
                await self._resize(write)
        except NamespaceTerminating:
            raise
        except (ApiRefused, NameTaken) as error:
            return Result(write, error)
        return Result(write)

    async def _apply(self, write: Apply) -> None:
        wanted, kind = stamped(write.wanted), kind_of(write.wanted)
        if write.cause is Cause.CREATED:
            live = await self._create(wanted)
        else:
            live = await self.kube.apply(wanted, force=True)
        self.cache.put(kind, live)
        structlog.get_logger().info(
            "object applied",
            namespace=namespace_of(wanted),
            object=str(write),
            cause=write.cause.value,
            difference=write.difference,
        )

    async def _create(self, wanted: Object) -> Object:
        """Apply without force first: an object that is not in the watch cache may belong to somebody else."""
        try:
            return await self.kube.apply(wanted, force=False)
        except ApiConflict as conflict:
            kind = kind_of(wanted)
            live = await self.kube.get(kind, namespace_of(wanted), name_of(wanted))
            if not _is_ours(live, wanted):
                text = f"{kind} {name_of(wanted)} exists and does not belong to this resource"
                raise NameTaken(text) from conflict
            return await self.kube.apply(wanted, force=True)

    async def _delete(self, write: Delete) -> None:
        """Delete an object. Its uid is a precondition: if it is gone or was replaced, there is nothing left to do."""
        namespace, name = namespace_of(write.live), name_of(write.live)
        uid = write.live["metadata"]["uid"]
        try:
            await self.kube.delete(write.kind, namespace, name, uid, write.propagation)
        except (ApiGone, ApiConflict):
            structlog.get_logger().info("object was already deleted", namespace=namespace, object=str(write))

    async def _resize(self, write: Resize) -> None:
        patch = {"spec": {"resources": {"requests": {"storage": write.capacity}}}}
        namespace, name = namespace_of(write.claim), name_of(write.claim)
        self.cache.put(kinds.CLAIM, await self.kube.merge(kinds.CLAIM, namespace, name, patch))

    def _count(self, key: Key, kind: str) -> None:
        self.metrics.writes.labels(key.namespace, key.name, kind).inc()


def _is_ours(live: Object, wanted: Object) -> bool:
    """Return whether an object has the same owner as the wanted one. Its labels do not matter."""
    uid = wanted["metadata"]["ownerReferences"][0]["uid"]
    return any(one.get("uid") == uid for one in live["metadata"].get("ownerReferences") or ())
