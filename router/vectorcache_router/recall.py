"""Copies of metadata from nodes, for a router that starts while the blob store fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from vectorcache.errors import VectorCacheError
from vectorcache.index.manifest import Current
from vectorcache.layers.kept import Memory
from vectorcache_router.remote_node import RemoteNode

MAX_NODES_ASKED = 64
"""Nodes that are asked for one blob, one after the other."""

_NODE_SECONDS, _ALL_SECONDS = 2.0, 10.0


class NodesMemory(Memory):
    """Asks nodes for their copies; each keeps what belongs to the collections that it serves.

    Args:
        nodes: the nodes to ask about a collection, in the order to ask them.
    """

    def __init__(self, nodes: Callable[[str], Sequence[RemoteNode]]) -> None:
        self._nodes = nodes

    async def get(self, key: str) -> bytes | None:
        """The first copy that a node has; of a pointer, the copy with the highest version."""
        found: list[bytes] = []
        try:
            async with asyncio.timeout(_ALL_SECONDS):
                async for data in self._copies(key):
                    found.append(data)
                    if not key.endswith("/current.json"):
                        break
        except TimeoutError:
            pass
        return max(found, key=_version, default=None) if len(found) > 1 else next(iter(found), None)

    async def put(self, key: str, data: bytes, /) -> None:
        """Nothing: nodes read the store themselves."""

    async def delete(self, key: str) -> None:
        """Nothing, as above."""

    async def contains(self, key: str) -> bool:
        """Whether there is anybody to ask."""
        return bool(self._nodes(_collection(key)))

    async def _copies(self, key: str) -> AsyncIterator[bytes]:
        for node in self._nodes(_collection(key))[:MAX_NODES_ASKED]:
            try:
                yield await node.kept(key, _NODE_SECONDS)
            except VectorCacheError:
                continue


def _collection(key: str) -> str:
    return key.partition("/")[0]


def _version(pointer: bytes) -> int:
    try:
        return msgspec.json.decode(pointer, type=Current).version
    except msgspec.MsgspecError:
        return 0
