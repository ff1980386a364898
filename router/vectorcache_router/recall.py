"""Metadata that nodes keep, for a router that starts while the blob store does not answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice

from vectorcache.errors import VectorCacheError
from vectorcache.gather import each_of
from vectorcache_router.http_node import HttpNode

MAX_NODES_ASKED = 64
"""Nodes that are asked for one blob; those that serve a collection keep what belongs to it."""

_AT_ONCE = 8
_TIMEOUT = 1.0  # seconds for one node


class NodesMemory:
    """Asks nodes; they keep by themselves what they serve. See ``vectorcache.layers.kept.Memory``.

    Args:
        nodes: the present nodes by name.
    """

    def __init__(self, nodes: Callable[[], Mapping[str, HttpNode]]) -> None:
        self._nodes = nodes

    async def get(self, key: str) -> bytes | None:
        """What the first node that keeps it tells."""

        async def ask(node: HttpNode) -> bytes | None:
            try:
                return await node.kept(key, _TIMEOUT)
            except VectorCacheError:
                return None

        nodes = iter(tuple(self._nodes().values())[:MAX_NODES_ASKED])
        while some := tuple(islice(nodes, _AT_ONCE)):
            told = next((data for data in await each_of(ask, some, _AT_ONCE) if data is not None), None)
            if told is not None:
                return told
        return None

    async def put(self, key: str, data: bytes, /) -> None:
        """Nothing: nodes keep by themselves."""

    async def delete(self, key: str) -> None:
        """Nothing, as above."""

    async def contains(self, key: str) -> bool:
        """Whether there is anybody to ask."""
        return bool(self._nodes())
