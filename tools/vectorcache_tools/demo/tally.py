"""Sums of the nodes' counters: hits by layer, searches, and memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import aiohttp
import msgspec

from vectorcache.wire import internal

TIERS = ("memory", "disk", "blob")
_TIMEOUT = aiohttp.ClientTimeout(total=10.0)


class Tally(NamedTuple):
    """Sums over nodes since they started.

    Attributes:
        hits: chunks found, by layer.
        searches: searches of nodes; one search of a router searches several nodes.
        memory_bytes: size of the memory layers.
    """

    hits: Counter[str]
    searches: int
    memory_bytes: int

    def since(self, before: Tally) -> Tally:
        """Return the difference from an earlier tally."""
        hits = Counter({tier: self.hits[tier] - before.hits[tier] for tier in TIERS})
        return Tally(hits, self.searches - before.searches, self.memory_bytes - before.memory_bytes)


async def tally(nodes: Iterable[str]) -> Tally:
    """Return the sums over nodes, given their URLs."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        every = await asyncio.gather(*(_stats(session, url) for url in nodes))
    layers = [layer for stats in every for layer in stats.layers]
    hits: Counter[str] = Counter(dict.fromkeys(TIERS, 0))
    for layer in layers:
        hits[layer.name] += layer.hits
    held = sum(layer.bytes or 0 for layer in layers if layer.name == "memory")
    return Tally(hits, sum(stats.searches for stats in every), held)


async def _stats(session: aiohttp.ClientSession, url: str) -> internal.NodeStats:
    async with session.get(f"{url}/v1/stats", raise_for_status=True) as response:
        return msgspec.json.decode(await response.read(), type=internal.NodeStats)
