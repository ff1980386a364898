"""The routers' ring over the ready nodes, for the status."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from vectorcache.lru import LRU
from vectorcache.routing.ring import HashRing
from vectorcache_operator.kinds import Object
from vectorcache_operator.spec import Ring

MAX_SCORES = 2_500_000
"""Maximum slots times nodes for which the ring is computed, because each takes several times 8 bytes."""

_Id = tuple[tuple[str, ...], int, int]


class RingShares:
    """Computes rings and caches the latest ones."""

    def __init__(self, max_entries: int = 256) -> None:
        self._known: LRU[_Id, Object] = LRU(max_items=max_entries)

    async def of(self, nodes: Iterable[str], settings: Ring) -> Object:
        """Return the ring over the nodes in the form of the status."""
        chosen = (tuple(sorted(nodes)), settings.virtual_nodes, settings.replication)
        known = self._known.get(chosen)
        if known is None:
            known = await asyncio.to_thread(_shares, *chosen)
            self._known.put(chosen, known)
        return known


def _shares(nodes: tuple[str, ...], slots: int, replication: int) -> Object:
    summary: Object = {"virtualNodes": slots, "replication": replication}
    if not nodes or len(nodes) * slots > MAX_SCORES:
        return summary
    ring = HashRing(nodes, slots, replication)
    shares = [{"name": name, "slots": count} for name, count in ring.slot_counts().items()]
    return summary | {"version": ring.version, "nodes": shares}
