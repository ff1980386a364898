"""Balance and movement of the ring as it grows from 2 to 100 nodes, and the time to build it.

Prints a table and writes a plot. Needs matplotlib (the extra ``bench``).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vectorcache.routing.ring import LOAD_CAP, HashRing


@dataclass(frozen=True)
class Row:
    """One size of the ring. Shares are fractions of all slots; ``ideal`` is the share of the new node, 1 / nodes."""

    nodes: int
    max_over_mean: float
    moved: float
    ideal: float
    collateral: float
    build_ms: float


def measure(nodes: int, before: HashRing, virtual_nodes: int) -> tuple[Row, HashRing]:
    """Return the ring of ``nodes`` nodes, and the movement caused by adding the last of them."""
    name = f"products-node-{nodes - 1}"
    start = time.perf_counter()
    ring = before.with_node(name)
    build_ms = (time.perf_counter() - start) * 1e3
    counts = np.array(list(ring.slot_counts().values()))
    moved = before.moved(ring)
    collateral = np.setdiff1d(moved, ring.slots_of(name)).size
    row = Row(
        nodes=nodes,
        max_over_mean=float(counts.max() / counts.mean()),
        moved=moved.size / virtual_nodes,
        ideal=1 / nodes,
        collateral=collateral / virtual_nodes,
        build_ms=build_ms,
    )
    return row, ring


def run(largest: int, virtual_nodes: int) -> list[Row]:
    """Return one row for each size from 2 to ``largest``."""
    ring, rows = HashRing(["products-node-0"], virtual_nodes), []
    for nodes in range(2, largest + 1):
        row, ring = measure(nodes, ring, virtual_nodes)
        rows.append(row)
    return rows


def table(rows: list[Row]) -> str:
    """Return a table of every size up to 12, and of every tenth size above."""
    lines = ["nodes  max/mean   moved   ideal  collateral  build ms"]
    lines += [
        f"{row.nodes:5d}  {row.max_over_mean:8.4f}  {row.moved:6.2%}  {row.ideal:6.2%}"
        f"  {row.collateral:10.2%}  {row.build_ms:8.2f}"
        for row in rows
        if row.nodes <= 12 or row.nodes % 10 == 0
    ]
    return "\n".join(lines)


def plot(rows: list[Row], path: Path) -> None:
    """Plot the balance above and the movement below."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    nodes = [row.nodes for row in rows]
    figure, (balance, movement) = plt.subplots(2, 1, sharex=True, figsize=(8, 7))
    balance.plot(nodes, [row.max_over_mean for row in rows], label="max / mean slots of a node")
    balance.axhline(float(LOAD_CAP), color="grey", linestyle=":", label="cap")
    movement.semilogy(nodes, [row.moved for row in rows], label="moved")
    movement.semilogy(nodes, [row.ideal for row in rows], linestyle=":", color="grey", label="1 / nodes")
    movement.plot(nodes, [row.collateral or np.nan for row in rows], ".", label="not to the new node")
    movement.set(xlabel="nodes, after growing by one", ylabel="share of slots")
    for axes in (balance, movement):
        axes.legend()
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--nodes", type=int, default=100, help="number of nodes of the largest ring (default 100)"
    )
    parser.add_argument("--virtual-nodes", type=int, default=10_000, help="number of slots (default 10000)")
    parser.add_argument(
        "--plot", type=Path, default=Path("build/ring.png"), help="file of the plot (default build/ring.png)"
    )
    parser.add_argument("--json", action="store_true", help="print every size as JSON instead of the table")
    given = parser.parse_args()
    rows = run(given.nodes, given.virtual_nodes)
    plot(rows, given.plot)
    print(json.dumps([asdict(row) for row in rows], indent=1) if given.json else table(rows))


if __name__ == "__main__":
    main()
