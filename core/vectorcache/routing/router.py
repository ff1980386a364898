"""The router: it assigns keys to nodes while nodes are added and removed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Self, Unpack

from numpy.typing import ArrayLike

from vectorcache.concurrency import Offload
from vectorcache.errors import InvalidInput
from vectorcache.index.chunk import Chunk
from vectorcache.index.coarse import CoarseQuantizer
from vectorcache.index.node import LocalNode, SearchNode
from vectorcache.index.options import SearchKeywords, SearchOptions, resolve
from vectorcache.index.query import Answer
from vectorcache.index.versions import Versions
from vectorcache.layers.nlayer import NLayerCache
from vectorcache.routing.load import NodeLoads
from vectorcache.routing.placement import SHARD_BYTES
from vectorcache.routing.ring import HashRing
from vectorcache.routing.scatter import ScatterSearch
from vectorcache.vectors.exact import as_queries, check_k

REAL_NODES = 10
VIRTUAL_NODES = 10_000


class Router(ABC):
    """Assignment of every key to the node that owns it, for a number of nodes that can change."""

    @abstractmethod
    def get_search(self, key: str | bytes) -> SearchNode:
        """Return the node that owns a key: a chunk's key, or the bytes of a centroid."""

    @abstractmethod
    def get_number_of_real_nodes(self) -> int:
        """Return the number of nodes."""

    @abstractmethod
    async def increase_real_nodes_count(self, by: int = 1) -> None:
        """Add nodes. The other nodes keep their caches.

        Raises:
            InvalidInput: ``by`` is less than 1.
        """

    @abstractmethod
    async def decrease_real_nodes_count(self, by: int = 1) -> None:
        """Remove the nodes that were added last. The others keep their caches.

        Raises:
            InvalidInput: ``by`` is less than 1, or no node would be left.
        """


class RingRouter(Router):
    """Router over nodes in this process, on a consistent-hash ring.

    Use it as an async context manager, which opens and closes the caches. Searches may run during a resize, but two
    resizes must not run concurrently.

    Args:
        make_cache: creates the cache of a new node, given the node's name. Nodes do not share caches.
        versions: opens the versions of collections for all nodes.
        real_nodes: initial number of nodes, which are named ``node-0``, ``node-1``, ...
        virtual_nodes: number of slots of the ring.
        replication: number of nodes that own a slot.
        shard_bytes: see ``SHARD_BYTES``.
        offload: runs long work of all nodes.
    """

    def __init__(
        self,
        make_cache: Callable[[str], NLayerCache[Chunk]],
        versions: Versions,
        *,
        real_nodes: int = REAL_NODES,
        virtual_nodes: int = VIRTUAL_NODES,
        replication: int = 1,
        shard_bytes: int = SHARD_BYTES,
        offload: Offload | None = None,
    ) -> None:
        self._make_cache = make_cache
        self._versions = versions
        self._offload = offload
        names = [f"node-{number}" for number in range(check_k(real_nodes, "real_nodes"))]
        self._nodes = {name: self._make_node(name) for name in names}
        self._ring = HashRing(names, virtual_nodes, replication)
        self._shard_bytes = shard_bytes
        self._loads = NodeLoads()
        self._scatter = self._scatter_over(self._ring, self._nodes)

    @property
    def ring(self) -> HashRing:
        """The current ring."""
        return self._ring

    def get_search(self, key: str | bytes) -> SearchNode:
        """See ``Router.get_search``."""
        return self._nodes[self._ring.owner(key)]

    def get_number_of_real_nodes(self) -> int:
        """See ``Router.get_number_of_real_nodes``."""
        return len(self._nodes)

    async def increase_real_nodes_count(self, by: int = 1) -> None:
        """See ``Router.increase_real_nodes_count``."""
        first = len(self._nodes)
        for number in range(first, first + check_k(by, "by")):
            name = f"node-{number}"
            node = self._make_node(name)
            await node.open()
            self._replace_nodes({**self._nodes, name: node}, self._ring.with_node(name))

    async def decrease_real_nodes_count(self, by: int = 1) -> None:
        """See ``Router.decrease_real_nodes_count``."""
        if check_k(by, "by") >= len(self._nodes):
            raise InvalidInput("by", by, f"at most {len(self._nodes) - 1}: the last node cannot be removed")
        for _ in range(by):
            name = f"node-{len(self._nodes) - 1}"
            removed = self._nodes[name]
            remaining = {kept: node for kept, node in self._nodes.items() if kept != name}
            self._replace_nodes(remaining, self._ring.without_node(name))
            await removed.close()

    async def search(
        self,
        coarse: CoarseQuantizer,
        queries: ArrayLike,
        k: int | None = None,
        **options: Unpack[SearchKeywords],
    ) -> list[Answer]:
        """Search over all nodes. See ``ChunkIndex.search`` and ``ScatterSearch.search``."""
        vectors, _ = as_queries(queries, coarse.manifest.dimension)
        resolved = resolve(SearchOptions(k=k, **options), vectors, coarse.manifest)
        return await self._scatter.search(coarse, vectors, resolved)

    async def __aenter__(self) -> Self:
        for node in self._nodes.values():
            await node.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self._nodes.values():
            await node.close()

    def _make_node(self, name: str) -> LocalNode:
        return LocalNode(name, self._versions, self._make_cache(name), offload=self._offload)

    def _replace_nodes(self, nodes: dict[str, LocalNode], ring: HashRing) -> None:
        """Replace the nodes and the ring. Searches in progress continue with the ones that they started with."""
        self._nodes, self._ring = nodes, ring
        self._scatter = self._scatter_over(ring, nodes)

    def _scatter_over(self, ring: HashRing, nodes: dict[str, LocalNode]) -> ScatterSearch:
        return ScatterSearch(
            ring, nodes, shard_bytes=self._shard_bytes, loads=self._loads, offload=self._offload
        )
