"""The ring that routers have over the nodes that are ready, for the status."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from vectorcache.routing.ring import HashRing
from vectorcache_operator.kinds import Object
from vectorcache_operator.spec import Ring

MAX_SCORES = 2_500_000
"""Slots times nodes up to which the ring is computed: it takes 8 bytes each, several times over, for a moment."""

_Id = tuple[tuple[str, ...], int, int]


class RingShares:
    """Computes rings, and keeps what the status says of the last few hundred."""

    def __init__(self, most: int = 256) -> None:
        self._known: OrderedDict[_Id, Object] = OrderedDict()
        self._most = most

    async def of(self, nodes: Iterable[str], settings: Ring) -> Object:
        """What the status says of the ring over the nodes."""
        chosen = (tuple(sorted(nodes)), settings.virtual_nodes, settings.replication)
        if chosen not in self._known:
            self._known[chosen] = await asyncio.to_thread(_shares, *chosen)
        self._known.move_to_end(chosen)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return self._known[chosen]


def _shares(nodes: tuple[str, ...], slots: int, replication: int) -> Object:
    told: Object = {"virtualNodes": slots, "replication": replication}
    if not nodes or len(nodes) * slots > MAX_SCORES:
        return told
    ring = HashRing(nodes, slots, replication)
    shares = [{"name": name, "slots": count} for name, count in ring.slot_counts().items()]
    return told | {"version": ring.version, "nodes": shares}
