"""The scores of nodes for the slots of the ring: evenly spread, and as different between nodes as possible.

Each node ranks all slots. The more evenly the ranks of one node are distributed over those of another, the less the
loads of nodes vary. The slots are the points (x, y) of a square whose side is a prime, and a node ranks them line by
line: first all points of ``y + direction * x = c (mod side)`` for one c, then those for the next c. In the finite
affine plane, lines of different directions meet in exactly one point. So every line of one node shares one slot with
every line of another node (or none, if the square is larger than the ring).

There are as many directions as the square has rows. These are too few to choose them by a hash (among 50 names, two
would collide), but enough to number them. The pods of a StatefulSet are numbered: ``products-node-17`` has the base
``products-node-`` and the direction 17. All lines of a base are bent by a hash of the base, so that the scores of
nodes with different bases are unrelated, like random ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import mmh3
import numpy as np
from numpy.typing import NDArray

_NUMBERED = re.compile(r"(.*?)(0|[1-9][0-9]*)?", re.DOTALL)
"""A base and an optional number. Different names differ in at least one of them."""

_HIGH = np.uint64(0xFFFFFFFF00000000)


def score_slots(nodes: Sequence[str], slots: int) -> NDArray[np.uint64]:
    """Return the score of every node for every slot: ``(slots, nodes)``. Scores in a row are equal only by accident.

    A score depends only on the node's name and the number of slots. Its high part is the rank of the slot. Its low
    part is a hash of the name and the slot, so that equal ranks of different nodes do not tie.
    """
    named = murmur3(nodes)[:, None]
    hashed = _fmix64(_fmix64(np.arange(1, slots + 1, dtype=np.uint64)) ^ named)
    order = rank_ascending(_fmix64(_lines(nodes, slots) ^ ~named) & _HIGH | hashed >> np.uint64(32))
    scored = hashed >> np.uint64(slots.bit_length())
    step = np.uint64((2**64 - 1) // slots)
    for row, ranked in zip(scored, order, strict=True):
        row[ranked] += np.arange(slots, dtype=np.uint64) * step
    return np.ascontiguousarray(scored.T)


def rank_ascending(keys: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return the indices that sort each row, with equal keys in the order of their indices, on every machine.

    A stable sort takes several times as long. It is used only for rows with equal keys, which are rare for hashes.
    """
    order = keys.argsort(axis=1)
    ascending = np.take_along_axis(keys, order, axis=1)
    tied = (ascending[:, 1:] == ascending[:, :-1]).any(axis=1)
    order[tied] = keys[tied].argsort(axis=1, kind="stable")
    return order


def _lines(nodes: Sequence[str], slots: int) -> NDArray[np.uint64]:
    """Return the number of each slot's line, for each node: ``(nodes, slots)``, less than the side."""
    side = _prime_from(math.isqrt(slots - 1) + 1)
    x, y = np.divmod(np.arange(slots), side)
    slope, bend, twist = np.array([_curve(name, side) for name in nodes]).T[:, :, None]
    lines: NDArray[np.intp] = (y + x * (slope + x * (bend + x * twist % side) % side)) % side
    return lines.astype(np.uint64)


def _curve(name: str, side: int) -> tuple[int, int, int]:
    """Return the coefficients of x, x^2 and x^3 in a node's lines. The first one increases with the node's number."""
    base, number = _split(name)
    turns, direction = divmod(number, side)
    drawn = mmh3.hash64(f"{turns} {base}", signed=False)[0]
    return (drawn // side**2 + direction) % side, drawn // side % side, drawn % side


def _split(name: str) -> tuple[str, int]:
    found = _NUMBERED.fullmatch(name)
    assert found is not None, "any text matches"
    return found[1], -1 if found[2] is None else int(found[2])


def _prime_from(least: int) -> int:
    """Return the smallest prime that is at least ``least``."""
    number = max(least, 2)
    while any(number % divisor == 0 for divisor in range(2, math.isqrt(number) + 1)):
        number += 1
    return number


def murmur3(keys: Sequence[str | bytes]) -> NDArray[np.uint64]:
    """Return the 64-bit murmur3 hash of each key: ``(len(keys),)``."""
    return np.fromiter((mmh3.hash64(key, signed=False)[0] for key in keys), dtype=np.uint64, count=len(keys))


def _fmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply the 64-bit finalizer of murmur3 (Appleby 2011) in place: a bijection that mixes all bits."""
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values
