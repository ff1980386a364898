"""The router: which node searches what, while nodes come and go."""

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
    """Leads every key to the node that owns it, and lets the number of nodes change."""

    @abstractmethod
    def get_search(self, key: str | bytes) -> SearchNode:
        """The node that owns a key: a chunk's key, or the bytes of a centroid."""

    @abstractmethod
    def get_number_of_real_nodes(self) -> int:
        """How many nodes there are."""

    @abstractmethod
    async def increase_real_nodes_count(self, by: int = 1) -> None:
        """Add nodes; the nodes that stay keep their caches.

        Raises:
            InvalidInput: ``by`` is less than 1.
        """

    @abstractmethod
    async def decrease_real_nodes_count(self, by: int = 1) -> None:
        """Remove the nodes that came last; the others keep their caches.

        Raises:
            InvalidInput: ``by`` is less than 1, or no node would be left.
        """


class RingRouter(Router):
    """Nodes in this process on a consistent-hash ring.

    Args:
        make_cache: makes the cache of a new node, given the node's name. Every node has its own.
        versions: opens the versions of collections for all nodes.
        real_nodes: how many nodes to begin with; they are named ``node-0``, ``node-1``, ...
        virtual_nodes: slots of the ring.
        replication: how many nodes own a slot.
        shard_bytes: see ``SHARD_BYTES``.
        offload: runs long work of all nodes.

    Use it by ``async with``, which opens the caches and closes them. Concurrent searches go on during a resize;
    resizes must not be concurrent with each other.
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
        """The ring as it is now."""
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
            self._adopt({**self._nodes, name: node}, self._ring.with_node(name))

    async def decrease_real_nodes_count(self, by: int = 1) -> None:
        """See ``Router.decrease_real_nodes_count``."""
        if check_k(by, "by") >= len(self._nodes):
            raise InvalidInput("by", by, f"at most {len(self._nodes) - 1}: the last node cannot be removed")
        for _ in range(by):
            name = f"node-{len(self._nodes) - 1}"
            leaving = self._nodes[name]
            staying = {kept: node for kept, node in self._nodes.items() if kept != name}
            self._adopt(staying, self._ring.without_node(name))
            await leaving.close()

    async def search(
        self,
        coarse: CoarseQuantizer,
        queries: ArrayLike,
        k: int | None = None,
        **options: Unpack[SearchKeywords],
    ) -> list[Answer]:
        """Search over all nodes; see ``ChunkIndex.search`` and ``ScatterSearch.search``."""
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

    def _adopt(self, nodes: dict[str, LocalNode], ring: HashRing) -> None:
        """Searches that are under way go on with the nodes and the ring that they began with."""
        self._nodes, self._ring = nodes, ring
        self._scatter = self._scatter_over(ring, nodes)

    def _scatter_over(self, ring: HashRing, nodes: dict[str, LocalNode]) -> ScatterSearch:
        return ScatterSearch(
            ring, nodes, shard_bytes=self._shard_bytes, loads=self._loads, offload=self._offload
        )
