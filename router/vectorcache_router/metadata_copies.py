"""Copies of metadata read from nodes, for a router that starts while the blob store is unavailable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from vectorcache.errors import VectorCacheError
from vectorcache.index.manifest import Current
from vectorcache.layers.kept import Memory
from vectorcache_router.remote_node import RemoteNode

MAX_NODES_ASKED = 64
"""Maximum number of nodes that are asked for one blob, one after the other."""

_NODE_SECONDS, _ALL_SECONDS = 2.0, 10.0


class NodesMemory(Memory):
    """Copies of metadata that nodes keep. A node keeps the metadata of the versions that are searched on it.

    Args:
        nodes: returns the nodes to ask for a collection's metadata, in order.
    """

    def __init__(self, nodes: Callable[[str], Sequence[RemoteNode]]) -> None:
        self._nodes = nodes

    async def get(self, key: str) -> bytes | None:
        """Return the first copy that a node has, or for a pointer the copy with the highest version."""
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
        """Do nothing: nodes read the store themselves."""

    async def delete(self, key: str) -> None:
        """Do nothing, see ``put``."""

    async def contains(self, key: str) -> bool:
        """Return whether there is a node to ask."""
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
