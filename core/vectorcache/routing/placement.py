"""Placement: the assignment of cells to nodes. A query needs few nodes, and no node is loaded far beyond the others.

- Neighbouring chunks form a *shard*, which is placed on the ring as a unit. A query probes neighbouring cells, so it
  needs few shards and few nodes. A collection that is not larger than a shard needs one node.
- *Bounded loads* (Mirrokni, Thorup & Zadimoghaddam, "Consistent hashing with bounded loads", 2018): a shard is
  searched by the first node in the ring's order that is not loaded beyond 1.25 times the mean. A hot shard is spread
  over as many nodes as its load needs; a cold shard stays on one node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vectorcache.index.manifest import Manifest
from vectorcache.index.query import Cells
from vectorcache.lru import LRU
from vectorcache.routing.load import NodeLoads
from vectorcache.routing.ring import HashRing

SHARD_BYTES = 512 << 20
"""Default size of a shard in bytes: half of the memory of a node with 1 GiB."""

EPSILON = 0.25
"""Share by which the load of a node may exceed the mean before other nodes are asked."""

SLACK = 4
"""Number of queries that a node may have in progress, whatever the mean. Other nodes may have to load the shard."""

_VERSIONS_BYTES = 64 << 20  # capacity of the cache of versions


class Shards(NamedTuple):
    """The shards of one version: the shard of each chunk (chunks,), and the key of each on the ring."""

    of_chunk: NDArray[np.intp]
    keys: list[str]

    def owners(self, ring: HashRing) -> list[NDArray[np.intp]]:
        """Return, for each replica, the index in ``ring.nodes`` of the node that holds each shard: (shards,)."""
        index = {name: at for at, name in enumerate(ring.nodes)}
        replicas = min(ring.replication, len(ring.nodes))
        others = [
            np.array([index[ring.owners(key)[place]] for key in self.keys], dtype=np.intp)
            for place in range(1, replicas)
        ]
        return [ring.owner_table[ring.slots(self.keys)], *others]


def shards_of(manifest: Manifest, shard_bytes: int) -> Shards:
    """Divide a version into as few shards as ``shard_bytes`` allows, all of about the same size.

    Consecutive chunks are near in space, so a shard is a run of chunks. The key of a shard is its number, so the shards
    of a new version are placed on the same nodes as those of the old one.
    """
    sizes = np.array([chunk.bytes for chunk in manifest.chunks], dtype=np.float64)
    middles = np.cumsum(sizes) - sizes / 2
    count = np.ceil(sizes.sum() / shard_bytes)
    numbers, of_chunk = np.unique((middles * (count / sizes.sum())).astype(np.intp), return_inverse=True)
    keys = [shard_key(manifest.collection, shard) for shard in range(len(numbers))]
    return Shards(of_chunk.astype(np.intp), keys)


def shard_key(collection: str, shard: int) -> str:
    """Return the key of a shard on the ring."""
    return f"{collection}/{shard}"


class _Version(NamedTuple):
    """The shards of a version: the shard of each cell, the keys of the shards, and their owners by replica."""

    manifest: Manifest
    shard_of_cell: NDArray[np.intp]
    shards: Shards
    owners: list[NDArray[np.intp]]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(part.nbytes for part in (self.shard_of_cell, self.shards.of_chunk, *self.owners))


class Placement:
    """Choice of nodes on one ring. A new object is created when the membership changes.

    Args:
        ring: defines the order of the nodes for each shard.
        shard_bytes: see ``SHARD_BYTES``.
        loads: current loads of the nodes.
    """

    def __init__(self, ring: HashRing, shard_bytes: int, loads: NodeLoads) -> None:
        self.ring = ring
        self._shard_bytes = shard_bytes
        self._loads = loads
        self._index = {name: at for at, name in enumerate(ring.nodes)}
        self._versions: LRU[tuple[str, int], _Version] = LRU(
            max_bytes=_VERSIONS_BYTES, weigh=lambda version: 256 * len(version.shards.keys) + version.nbytes
        )
        self._turn = 0

    def preference(self, manifest: Manifest, chunk: int) -> tuple[str, ...]:
        """Return all nodes in the order to ask for a chunk."""
        shards = self._version(manifest).shards
        return self.ring.preference(shards.keys[shards.of_chunk[chunk]])

    def nodes_for(
        self,
        manifest: Manifest,
        cells: Sequence[Cells],
        *,
        tried: Sequence[str] = (),
        suspects: Set[str] = frozenset(),
    ) -> NDArray[np.intp] | None:
        """Choose the node to ask for each of the n cells of some queries, one query after the other.

        With ``replication`` above 1, calls take turns among a shard's owners.

        Args:
            cells: the cells of each query, at least one.
            tried: nodes not to ask.
            suspects: nodes to ask only if no other node is left.

        Returns:
            Indices in ``ring.nodes`` (n,), or None if no node is left.
        """
        version = self._version(manifest)
        self._turn += not tried
        owners = version.owners[self._turn % len(version.owners)]
        names, loads = self.ring.nodes, self._loads.now()
        count = sum(map(len, cells))
        avoided = {*tried, *suspects}.intersection(self._index)
        others = sum(load for name, load in loads.items() if name in self._index and name not in avoided)
        mean = (others + count) / max(1, len(names) - len(avoided))
        most = max((1 + EPSILON) * mean, SLACK * count / len(cells))

        def able(node: int, share: int) -> bool:
            return names[node] not in avoided and loads.get(names[node], 0) + share <= most

        if len(owners) == 1 and able(int(owners[0]), count):
            return np.broadcast_to(owners, count)
        shards = version.shard_of_cell[np.concatenate(cells)]
        nodes = owners[shards]
        asked = np.bincount(nodes)
        if all(able(node, count) for node, count in enumerate(asked.tolist()) if count):
            return nodes
        query_of = np.repeat(np.arange(len(cells)), [len(one) for one in cells])
        for shard in np.unique(shards).tolist():
            order = self._order(version.shards.keys[shard], tried, suspects)
            if not order:
                return None
            places = np.flatnonzero(shards == shard)
            for name, part in _shares(order, query_of[places], loads, most):
                nodes[places[part]] = self._index[name]
                loads[name] = loads.get(name, 0) + part.stop - part.start
        return nodes

    def _order(self, key: str, tried: Sequence[str], suspects: Set[str]) -> list[str]:
        preference = self.ring.preference(key)
        turn = self._turn % min(self.ring.replication, len(preference))
        owners = preference[: self.ring.replication]
        order = [*owners[turn:], *owners[:turn], *preference[self.ring.replication :]]
        left = [name for name in order if name not in tried]
        return [name for name in left if name not in suspects] or left

    def _version(self, manifest: Manifest) -> _Version:
        key = (manifest.collection, manifest.version)
        version = self._versions.get(key)
        if version is None or version.manifest is not manifest:
            shards = shards_of(manifest, self._shard_bytes)
            version = _Version(
                manifest, shards.of_chunk[manifest.chunk_of_cell()], shards, shards.owners(self.ring)
            )
            self._versions.put(key, version)
        return version


def _shares(
    order: Sequence[str], query_of: NDArray[np.intp], loads: Mapping[str, float], most: float
) -> Iterator[tuple[str, slice]]:
    """Divide cells, given by the query of each (n,), among nodes. A node gets whole queries as long as it has room.

    A node that has any room gets at least half of the cells, so that one request brings a shard to at most two nodes:
    the next node may have to load the shard first. Cells for which no node has room go to the least loaded node.
    """
    half = -(-len(query_of) // 2)
    ends = np.append(np.flatnonzero(np.diff(query_of)) + 1, len(query_of))
    done = 0
    for name in order:
        room = most - loads.get(name, 0)
        fitting = int(np.searchsorted(ends, done + max(room, half), side="right")) if room > 0 else 0
        end = int(ends[fitting - 1]) if fitting else 0
        if end > done:
            yield name, slice(done, end)
            done = end
        if done == len(query_of):
            return
    yield min(order, key=lambda name: loads.get(name, 0)), slice(done, len(query_of))
