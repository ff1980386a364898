"""Where answers came from: the hits of each tier, summed over the nodes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

import aiohttp
import msgspec

from vectorcache import wire

TIERS = ("memory", "disk", "blob")
_TIMEOUT = aiohttp.ClientTimeout(total=10.0)


async def tier_hits(nodes: Iterable[str]) -> Counter[str]:
    """Hits by tier since the nodes started, given the nodes' URLs."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        every = await asyncio.gather(*(_stats(session, url) for url in nodes))
    hits: Counter[str] = Counter(dict.fromkeys(TIERS, 0))
    for stats in every:
        hits.update({layer.name: layer.hits for layer in stats.layers})
    return hits


async def _stats(session: aiohttp.ClientSession, url: str) -> wire.NodeStats:
    async with session.get(f"{url}/v1/stats", raise_for_status=True) as response:
        return msgspec.json.decode(await response.read(), type=wire.NodeStats)
