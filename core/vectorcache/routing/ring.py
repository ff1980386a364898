"""The hash ring: keys hash to a fixed number of slots, and each slot is owned by a node.

It combines three ideas:

- *Rendezvous hashing* (Thaler & Ravishankar, "Using name-based mappings to increase hit rates", 1998):
  every node has a pseudo-random score for every slot, and a slot prefers nodes in the order of their
  scores. The scores are spread evenly (``strata.py``), so that the number of slots of a node varies less than with
  random scores.
- *Bounded loads* (Mirrokni, Thorup & Zadimoghaddam, "Consistent hashing with bounded loads", 2018): no node
  owns more than 1.05 times the mean number of slots.
- *Stable matching* by deferred acceptance (Gale & Shapley, "College admissions and the stability of
  marriage", 1962) combines the two. Its result is unique, so it depends on the set of names only. If a node is
  added or removed, few slots other than its own move.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise

import mmh3
import numpy as np
from numpy.typing import NDArray

from vectorcache.errors import InvalidInput, NotFound
from vectorcache.routing.strata import murmur3, score_slots

LOAD_CAP = Fraction(105, 100)
"""Maximum number of slots of a node, as a multiple of the mean (rounded up if the mean is below 20)."""

_ALGORITHM = 2
"""Part of a ring's version: it distinguishes routers that would choose different owners for the same names."""

MAX_NAME = 253
"""Maximum length of a node's name in characters, which is that of a Kubernetes object."""


class HashRing:
    """An immutable assignment of ``virtual_nodes`` slots to named nodes.

    Rings of the same set of names and the same settings are equal in every process. Methods that read are
    thread-safe. A ring takes 8 bytes per slot and node (8 MB for 100 nodes).

    Args:
        nodes: distinct names of 1 to 253 printable characters, in any order; at least one.
        virtual_nodes: number of slots, at least 1; a hundred or more per node are recommended.
        replication: number of nodes that ``owners`` returns for each key, at least 1.

    Raises:
        InvalidInput: an argument is not allowed.
    """

    def __init__(self, nodes: Iterable[str], virtual_nodes: int = 10_000, replication: int = 1) -> None:
        self._nodes = _checked_names(nodes)
        self._virtual_nodes = _at_least_one("virtual_nodes", virtual_nodes)
        self._replication = _at_least_one("replication", replication)
        self._index = {name: index for index, name in enumerate(self._nodes)}
        self._scores = score_slots(self._nodes, virtual_nodes)
        self._owner_table = _match(self._scores)
        self._owner_table.flags.writeable = False
        self._preferences: dict[int, tuple[str, ...]] = {}  # computed on demand; at most one entry per slot

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes, sorted."""
        return self._nodes

    @property
    def virtual_nodes(self) -> int:
        """Number of slots."""
        return self._virtual_nodes

    @property
    def replication(self) -> int:
        """Number of nodes that ``owners`` returns, if there are as many."""
        return self._replication

    @property
    def version(self) -> str:
        """Fingerprint of the names and settings: 16 hexadecimal digits, the same in every process."""
        text = json.dumps([_ALGORITHM, self._virtual_nodes, self._replication, *self._nodes])
        return f"{_hash(text):016x}"

    @property
    def owner_table(self) -> NDArray[np.intp]:
        """Owner of each slot as an index into ``nodes``: ``(virtual_nodes,)``, read-only."""
        return self._owner_table

    def slot(self, key: str | bytes) -> int:
        """Return the slot of a key: its 64-bit murmur3 modulo the number of slots."""
        return _hash(key) % self._virtual_nodes

    def slots(self, keys: Sequence[str | bytes]) -> NDArray[np.intp]:
        """Return the slot of each key: ``(len(keys),)``."""
        return (murmur3(keys) % np.uint64(self._virtual_nodes)).astype(np.intp)

    def owner(self, key: str | bytes) -> str:
        """Return the node that owns the slot of a key."""
        return self._nodes[int(self._owner_table[self.slot(key)])]

    def owners(self, key: str | bytes) -> tuple[str, ...]:
        """Return the ``replication`` nodes that hold a key, its owner first; fewer if there are fewer nodes."""
        return self.preference(key)[: self._replication]

    def preference(self, key: str | bytes) -> tuple[str, ...]:
        """Return all nodes in the order to try: the owner, then the others by descending score."""
        slot = self.slot(key)
        found = self._preferences.get(slot)
        if found is None:
            found = self._preferences[slot] = self._order(slot)
        return found

    def with_node(self, name: str) -> HashRing:
        """Return a ring with one more node.

        Raises:
            InvalidInput: the name is not allowed, or is already on the ring.
        """
        return HashRing((*self._nodes, name), self._virtual_nodes, self._replication)

    def without_node(self, name: str) -> HashRing:
        """Return a ring without a node.

        Raises:
            NotFound: the node is not on the ring.
            InvalidInput: it is the last node.
        """
        self._require(name)
        if len(self._nodes) == 1:
            raise InvalidInput("node", name, "any node but the last")
        rest = (node for node in self._nodes if node != name)
        return HashRing(rest, self._virtual_nodes, self._replication)

    def moved(self, other: HashRing) -> NDArray[np.intp]:
        """Return the slots whose owner differs between the two rings, ascending.

        Raises:
            InvalidInput: the rings have different numbers of slots.
        """
        if other.virtual_nodes != self._virtual_nodes:
            raise InvalidInput("virtual_nodes", other.virtual_nodes, f"this ring's {self._virtual_nodes}")
        translated = np.array([self._index.get(name, -1) for name in other.nodes], dtype=np.intp)
        return np.flatnonzero(translated[other.owner_table] != self._owner_table)

    def slots_of(self, name: str) -> NDArray[np.intp]:
        """Return the slots that a node owns, ascending.

        Raises:
            NotFound: the node is not on the ring.
        """
        return np.flatnonzero(self._owner_table == self._require(name))

    def slot_counts(self) -> dict[str, int]:
        """Return the number of slots of each node, in the order of their names."""
        counts = np.bincount(self._owner_table, minlength=len(self._nodes))
        return dict(zip(self._nodes, counts.tolist(), strict=True))

    def __eq__(self, other: object) -> bool:
        return self._identity() == other._identity() if isinstance(other, HashRing) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return f"<HashRing {self.version}: {len(self._nodes)} nodes, {self._virtual_nodes} slots>"

    def _identity(self) -> tuple[tuple[str, ...], int, int]:
        return self._nodes, self._virtual_nodes, self._replication

    def _require(self, name: str) -> int:
        if name not in self._index:
            raise NotFound("node", name)
        return self._index[name]

    def _order(self, slot: int) -> tuple[str, ...]:
        scores = self._scores[slot].copy()
        # The owner's score may not be the highest, because of the cap.
        scores[self._owner_table[slot]] = np.iinfo(np.uint64).max
        return tuple(self._nodes[index] for index in np.argsort(~scores, kind="stable"))


def _match(scores: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Assign slots to nodes under the load cap: scores ``(slots, nodes)`` to nodes ``(slots,)``.

    Each slot proposes to the node with the highest score that has not refused it. A node over the cap refuses the
    slots with its lowest scores. The result does not depend on the order of proposals and refusals.
    """
    slots, nodes = scores.shape
    cap = max(-(-slots // nodes), slots * LOAD_CAP // nodes)
    left = scores.copy()
    owner: NDArray[np.intp] = left.argmax(axis=1)
    while (over := np.flatnonzero(np.bincount(owner, minlength=nodes) > cap)).size:
        for node in over:
            claims = np.flatnonzero(owner == node)
            excess = claims.size - cap
            refused = claims[np.argpartition(left[claims, node], excess - 1)[:excess]]
            left[refused, node] = 0  # lower than any other score
            owner[refused] = left[refused].argmax(axis=1)
    return owner


def _hash(key: str | bytes) -> int:
    return mmh3.hash64(key, signed=False)[0]


def _checked_names(nodes: Iterable[str]) -> tuple[str, ...]:
    names = tuple(sorted(nodes))
    if not names:
        raise InvalidInput("nodes", names, "at least one name")
    for name in names:
        if not (0 < len(name) <= MAX_NAME and name.isprintable()):
            raise InvalidInput("nodes", name, f"names of 1 to {MAX_NAME} printable characters")
    for name, following in pairwise(names):
        if name == following:
            raise InvalidInput("nodes", name, "unique names")
    return names


def _at_least_one(field: str, value: int) -> int:
    if value < 1:
        raise InvalidInput(field, value, "a whole number of at least 1")
    return value
