"""The cluster as seen by one router: nodes from the membership, the ring over them, and the search over all nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
import structlog

from vectorcache.concurrency import Offload
from vectorcache.errors import InvalidInput, Unavailable, VectorCacheError
from vectorcache.index.coarse import CoarseQuantizer
from vectorcache.index.manifest import Manifest
from vectorcache.index.options import ResolvedOptions
from vectorcache.index.query import Answer, StoredVector
from vectorcache.layers.kept import KeptBlobs
from vectorcache.routing.batcher import Batcher
from vectorcache.routing.load import NodeLoads
from vectorcache.routing.placement import shard_key
from vectorcache.routing.ring import HashRing
from vectorcache.routing.scatter import MAX_NODES_TRIED, ScatterSearch
from vectorcache.stores.url import open_blob_store
from vectorcache.vectors.metric import Floats
from vectorcache_router.blob_probe import BlobProbe
from vectorcache_router.collections import Collections
from vectorcache_router.health import ClusterHealth
from vectorcache_router.membership import FileMembership, Membership, StaticMembership, parse_nodes
from vectorcache_router.metadata_copies import NodesMemory
from vectorcache_router.remote_node import RemoteNode
from vectorcache_router.settings import RouterSettings

_CONNECTIONS_KEPT = 30.0  # seconds that an idle connection to a node stays open
_FOLLOW_AGAIN = 1.0  # seconds until a failed membership is followed again


class _Kind(NamedTuple):
    """The key of a batch: only searches of the same kind are batched."""

    coarse: CoarseQuantizer
    options: ResolvedOptions


class Cluster:
    """The nodes, the ring over them, and the collections.

    Attributes:
        collections: the served collections.
        membership: the source of the list of nodes.
        storage: the probe of the blob store.
        health: nodes that failed recently or are not ready.
        loads: outstanding work of each node.
        partial_answers: number of requests since the start with a partial answer.
    """

    def __init__(
        self,
        settings: RouterSettings,
        collections: Collections,
        membership: Membership,
        storage: BlobProbe,
        session: aiohttp.ClientSession,
        offload: Offload,
    ) -> None:
        self.collections = collections
        self.membership = membership
        self.storage = storage
        self.health = ClusterHealth()
        self.loads = NodeLoads()
        self.partial_answers = 0
        self._settings = settings
        self._session = session
        self._offload = offload
        self._nodes: dict[str, RemoteNode] = {}
        self._scatter: ScatterSearch | None = None
        self._batcher = Batcher(self._search, settings.linger)
        self._closing: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger()

    @property
    def nodes(self) -> Mapping[str, RemoteNode]:
        """The current nodes by name."""
        return self._nodes

    @property
    def ring(self) -> HashRing:
        """The ring over the current nodes. Raises ``Unavailable`` if there are none."""
        return self._ready().ring

    async def search(
        self, coarse: CoarseQuantizer, vectors: Floats, options: ResolvedOptions
    ) -> list[Answer]:
        """Search over the current nodes, batched with concurrent searches. See ``ScatterSearch.search``."""
        answers = await self._batcher.search(_Kind(coarse, options), vectors)
        if any(answer.partial for answer in answers):
            self.partial_answers += 1
        return answers

    async def _search(self, kind: _Kind, vectors: Floats) -> list[Answer]:
        return await self._ready().search(kind.coarse, vectors, kind.options)

    async def fetch(self, manifest: Manifest, chunk: int, positions: list[int]) -> list[StoredVector]:
        """Return vectors by position, from the chunk's owner or the next node that responds.

        Each node gets half of the remaining time. Nodes that failed recently are asked last.
        """
        nodes, names = self._nodes, self._ready().preference(manifest, chunk)
        timeout = self._settings.timeout
        error = Unavailable("no node responded")
        for name in names[:MAX_NODES_TRIED]:
            timeout /= 2
            try:
                return await nodes[name].fetch(
                    manifest.collection, manifest.version, chunk, positions, timeout
                )
            except Unavailable as failure:
                self.health.failed(name)
                error = failure
        raise error

    def keepers(self, collection: str) -> list[RemoteNode]:
        """Return the nodes to ask for a collection's metadata, beginning with the owners of its first shard."""
        if self._scatter is None:
            return []
        names, suspects = self._scatter.ring.preference(shard_key(collection, 0)), self.health.suspects()
        return [self._nodes[name] for name in sorted(names, key=lambda name: name in suspects)]

    async def follow(self) -> None:
        """Apply the changes of the membership until cancelled, or until there are no more changes."""
        while True:
            try:
                async with aclosing(self.membership.changes()) as changes:
                    async for members in changes:
                        await self.adopt(members.urls, members.away)
            except Exception:  # noqa: BLE001 - otherwise the membership would silently stay outdated
                self._log.exception("membership failed, trying again", seconds=_FOLLOW_AGAIN)
                await asyncio.sleep(_FOLLOW_AGAIN)
            else:
                return

    async def adopt(self, nodes: Mapping[str, str], away: frozenset[str] = frozenset()) -> None:
        """Replace the current nodes. Remaining nodes keep their connections, and nodes in ``away`` are asked last."""
        before = self._nodes
        after = {
            name: before[name] if name in before and before[name].url == url else self._connect(name, url)
            for name, url in nodes.items()
        }
        if after != before:
            self._scatter = await self._scatter_over(after) if after else None
            self._nodes = after
        for name in (self.health.away - away) | {name for name in before if before[name] != after.get(name)}:
            self.health.worked(name)  # the node is back or has a new address: earlier failures do not count
        self.health.away = away
        self.health.keep(frozenset(nodes))
        ring = self.ring.version if nodes else None
        self._log.info("nodes changed", nodes=sorted(nodes), away=sorted(away), ring=ring)
        # Running searches may still use the old nodes, whose clients wait for them before they close.
        for node in before.values():
            if node not in self._nodes.values():
                closing = asyncio.create_task(node.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    def _connect(self, name: str, url: str) -> RemoteNode:
        return RemoteNode(name, url, self._session)

    async def _scatter_over(self, nodes: Mapping[str, RemoteNode]) -> ScatterSearch:
        settings = self._settings
        if self._scatter is not None and {*self._scatter.ring.nodes} == nodes.keys():
            ring = self._scatter.ring
        else:  # in a thread: takes milliseconds, and longer with hundreds of nodes
            ring = await asyncio.to_thread(HashRing, nodes, settings.virtual_nodes, settings.replication)
        return ScatterSearch(
            ring,
            nodes,
            shard_bytes=settings.shard_bytes,
            health=self.health,
            loads=self.loads,
            hedge_after=settings.hedge_after,
            offload=self._offload,
        )

    def _ready(self) -> ScatterSearch:
        if self._scatter is None:
            raise Unavailable("no cache node is known yet")
        return self._scatter

    async def close(self) -> None:
        """Close the clients of the nodes after their running calls."""
        await asyncio.gather(*(node.close() for node in self._nodes.values()), *self._closing)


@asynccontextmanager
async def open_cluster(settings: RouterSettings, environment: Mapping[str, str]) -> AsyncIterator[Cluster]:
    """Open the blob store and its collections, follow the membership, and close everything at the end of the block.

    Raises:
        InvalidInput: a setting is missing or not allowed.
        VectorCacheError: the blob store cannot be opened.
    """
    if not settings.blob_url:
        raise InvalidInput("--blob-url", settings.blob_url, "the URL of a blob store")
    if settings.k > settings.max_k:
        raise InvalidInput("--k", settings.k, f"at most the value of --max-k, {settings.max_k}")
    membership = _membership(settings, environment)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_CONNECTIONS_KEPT)
    with ThreadPoolExecutor(1, thread_name_prefix="probe") as executor:
        async with (
            open_blob_store(settings.blob_url, environment) as blobs,
            aiohttp.ClientSession(
                connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
        ):
            kept = KeptBlobs(blobs, NodesMemory(lambda name: cluster.keepers(name)))
            collections = Collections(
                blobs, kept=kept, refresh=settings.refresh, max_bytes=settings.centroid_memory
            )
            storage = BlobProbe(blobs)
            cluster = Cluster(settings, collections, membership, storage, session, Offload(executor))
            background = [
                asyncio.create_task(work) for work in (cluster.follow(), storage.run(), collections.warm())
            ]
            try:
                yield cluster
            finally:
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
                await cluster.close()
                await collections.close()


def _membership(settings: RouterSettings, environment: Mapping[str, str]) -> Membership:
    ways = (settings.nodes, settings.nodes_file, settings.kubernetes_resource)
    if sum(map(bool, ways)) != 1:
        given = " ".join(filter(None, ways))
        raise InvalidInput("--nodes", given, "exactly one of --nodes, --nodes-file and --kubernetes-resource")
    if settings.kubernetes_resource:
        return _kubernetes(settings, environment)
    if settings.nodes_file:
        return FileMembership(Path(settings.nodes_file))
    return StaticMembership(parse_nodes(settings.nodes))


def _kubernetes(settings: RouterSettings, environment: Mapping[str, str]) -> Membership:
    try:  # not imported at the top: the Kubernetes client library takes 0.25 seconds and 20 MB
        from vectorcache_router.membership.api import connector
        from vectorcache_router.membership.kubernetes import KubernetesMembership
    except ImportError as error:
        raise VectorCacheError(
            "--kubernetes-resource needs an extra: pip install 'vectorcache[router]'"
        ) from error
    return KubernetesMembership(connector(environment), settings.kubernetes_resource, settings.grace_period)
