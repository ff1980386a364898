"""Placement: which node searches which cells. Few nodes for each query, and no node loaded far beyond the others.

- Neighbouring chunks form *shards*, which have their place on the ring together. A query probes neighbouring
  cells, so it needs few shards, and few nodes; a collection that is not larger than a shard needs one.
- *Bounded loads* (Mirrokni, Thorup & Zadimoghaddam, "Consistent hashing with bounded loads", 2018): a shard is
  searched by the first node in the ring's order that is not loaded beyond 1.25 times the mean. What is searched much
  is so searched by as many nodes as it takes, and what is searched seldom by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vectorcache.index.manifest import Manifest
from vectorcache.index.query import Cells
from vectorcache.routing.load import NodeLoads
from vectorcache.routing.ring import HashRing

SHARD_BYTES = 128 << 20
"""Bytes of the chunks that form a shard, by default: an eighth of the memory of a node with 1 GiB."""

EPSILON = 0.25
"""How far a node may be loaded beyond the mean before others take over."""

SLACK = 4
"""Queries that a node may have in hand, however idle the others are: their caches need not hold the shard too."""

_VERSIONS_KEPT = 256


class Shards(NamedTuple):
    """The shards of one version: the shard of each chunk (chunks,), and the key of each on the ring."""

    of_chunk: NDArray[np.intp]
    keys: list[str]

    def owners(self, ring: HashRing) -> list[NDArray[np.intp]]:
        """For each place among the replicas, (shards,) the index in ``ring.nodes`` of the node that holds each."""
        index = {name: at for at, name in enumerate(ring.nodes)}
        replicas = min(ring.replication, len(ring.nodes))
        others = [
            np.array([index[ring.owners(key)[place]] for key in self.keys], dtype=np.intp)
            for place in range(1, replicas)
        ]
        return [ring.owner_table[ring.slots(self.keys)], *others]


def shards_of(manifest: Manifest, shard_bytes: int) -> Shards:
    """Cut a version into as few shards as ``shard_bytes`` allows, all of about the same size.

    Chunks that are near in their order are near in space, so a shard is a run of them. It is known by its first one.
    """
    sizes = np.array([chunk.bytes for chunk in manifest.chunks], dtype=np.float64)
    middles = np.cumsum(sizes) - sizes / 2
    count = np.ceil(sizes.sum() / shard_bytes)
    _, first, of_chunk = np.unique(
        (middles * (count / sizes.sum())).astype(np.intp), return_index=True, return_inverse=True
    )
    return Shards(of_chunk.astype(np.intp), [manifest.chunk_key(chunk) for chunk in first.tolist()])


class _Version(NamedTuple):
    """What placement knows of a version: shard of each cell, keys of shards, their owners by place."""

    manifest: Manifest
    shard_of_cell: NDArray[np.intp]
    shards: Shards
    owners: list[NDArray[np.intp]]


class Placement:
    """Chooses nodes on one ring. Made anew when the membership changes.

    Args:
        ring: says in which order nodes are to hold a shard.
        shard_bytes: see ``SHARD_BYTES``.
        loads: of the nodes now.
    """

    def __init__(self, ring: HashRing, shard_bytes: int, loads: NodeLoads) -> None:
        self.ring = ring
        self._shard_bytes = shard_bytes
        self._loads = loads
        self._index = {name: at for at, name in enumerate(ring.nodes)}
        self._versions: dict[tuple[str, int], _Version] = {}
        self._turn = 0

    def preference(self, manifest: Manifest, chunk: int) -> tuple[str, ...]:
        """Every node, in the order to ask for a chunk."""
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
        """For all cells of some queries, one query after the other, (n,) the index of the node to ask.

        With ``replication`` above 1, calls take turns among a shard's owners.

        Args:
            cells: of each query; no query without any.
            tried: nodes not to ask.
            suspects: nodes to ask only where no other is left.

        Returns:
            The indices in ``ring.nodes``, or None where no node is left.
        """
        version = self._version(manifest)
        self._turn += not tried
        owners = version.owners[self._turn % len(version.owners)]
        names, loads = self.ring.nodes, self._loads.now()
        count = sum(map(len, cells))
        avoided = {*tried, *suspects}.intersection(self._index)
        mean = (sum(loads.values()) + count) / max(1, len(names) - len(avoided))
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
            if len(self._versions) >= _VERSIONS_KEPT:
                self._versions.clear()
            shards = shards_of(manifest, self._shard_bytes)
            version = self._versions[key] = _Version(
                manifest, shards.of_chunk[manifest.chunk_of_cell()], shards, shards.owners(self.ring)
            )
        return version


def _shares(
    order: Sequence[str], query_of: NDArray[np.intp], loads: Mapping[str, float], most: float
) -> Iterator[tuple[str, slice]]:
    """Divide cells, given by the query of each (n,), among nodes: whole queries, for as long as a node has room.

    What has no room anywhere goes to the node that is loaded least.
    """
    ends = np.append(np.flatnonzero(np.diff(query_of)) + 1, len(query_of))
    done = 0
    for name in order:
        fitting = int(np.searchsorted(ends, done + most - loads.get(name, 0), side="right"))
        end = int(ends[fitting - 1]) if fitting else 0
        if end > done:
            yield name, slice(done, end)
            done = end
        if done == len(query_of):
            return
    yield min(order, key=lambda name: loads.get(name, 0)), slice(done, len(query_of))
