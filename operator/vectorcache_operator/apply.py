"""Writing what is wanted, where it differs from what is there: server-side apply, one field manager."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import structlog

from vectorcache_operator import names
from vectorcache_operator.cache import WatchCache
from vectorcache_operator.diff import fingerprint, first_difference, stamped
from vectorcache_operator.errors import ApiConflict
from vectorcache_operator.kinds import (
    Kind,
    Object,
    annotations_of,
    is_terminating,
    kind_of,
    name_of,
    namespace_of,
)
from vectorcache_operator.kube import Kube


class Outcome(StrEnum):
    """What was done about one object."""

    SAME = "same"
    CREATED = "created"
    CHANGED = "changed"
    REPAIRED = "repaired"
    LEAVING = "leaving"


class NameTaken(Exception):
    """An object of the name exists and is somebody else's."""


@dataclass(frozen=True, slots=True)
class Applier:
    """Brings objects about. What was written goes into the watch cache at once."""

    kube: Kube
    cache: WatchCache

    async def ensure(self, wanted: Object) -> Outcome:
        """Make an object be as wanted; nothing is written where it is.

        Raises:
            NameTaken: somebody else has an object of the name.
            ApiRefused, ApiUnavailable: the API did not do it.
        """
        kind = kind_of(wanted)
        live = self.cache.get(kind, namespace_of(wanted), name_of(wanted))
        if live is None:
            self._keep(kind, await self._create(kind, stamped(wanted)))
            return Outcome.CREATED
        if is_terminating(live):
            return Outcome.LEAVING  # its removal is an event, which brings us back here
        outcome = self._compare(wanted, live)
        if outcome is not Outcome.SAME:
            self._keep(kind, await self.kube.apply(stamped(wanted), force=True))
        return outcome

    async def remove(self, live: Object, kind: Kind, propagation: str = "Background") -> None:
        """Delete exactly this object."""
        namespace, name = namespace_of(live), name_of(live)
        await self.kube.delete(kind, namespace, name, live["metadata"]["uid"], propagation)

    def _compare(self, wanted: Object, live: Object) -> Outcome:
        if annotations_of(live).get(names.ANNOTATION_APPLIED) != fingerprint(wanted):
            return Outcome.CHANGED
        where = first_difference(wanted, live)
        if where is None:
            return Outcome.SAME
        structlog.get_logger().info("repairing", kind=wanted["kind"], name=name_of(wanted), differs=where)
        return Outcome.REPAIRED

    async def _create(self, kind: Kind, wanted: Object) -> Object:
        """Apply without force first: what is not in the watch cache may be somebody else's."""
        try:
            return await self.kube.apply(wanted, force=False)
        except ApiConflict as conflict:
            live = await self.kube.get(kind, namespace_of(wanted), name_of(wanted))
            if not _is_ours(live, wanted):
                text = f"{kind} {name_of(wanted)} exists and does not belong to this resource"
                raise NameTaken(text) from conflict
            return await self.kube.apply(wanted, force=True)

    def _keep(self, kind: Kind, live: Object) -> None:
        self.cache.put(kind, live)


def _is_ours(live: Object, wanted: Object) -> bool:
    """Whether an object has the owner that it should have, whatever its labels say."""
    uid = wanted["metadata"]["ownerReferences"][0]["uid"]
    return any(one.get("uid") == uid for one in live["metadata"].get("ownerReferences") or ())
