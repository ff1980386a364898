"""The figures of a demo, and the faults that they show."""

from __future__ import annotations

from pathlib import Path

import msgspec

LEAST_RECALL = 0.94
"""The target of the build is 0.95, and a thousand queries measure it with an error of about 0.01."""


class CollectionFigures(msgspec.Struct, kw_only=True):
    """The figures of one collection. Latencies are those of a single caller, with empty caches if ``cold``.

    Attributes:
        bytes: size of the chunks in the blob store.
        memory_bytes: size of the nodes' memory layers, without the memory-mapped files on disk.
        nodes_per_query: average number of nodes that the router asked per query.
    """

    vectors: int = 0
    dimension: int = 0
    nprobe: int = 0
    bytes: int = 0
    build_seconds: float = 0.0
    recall_at_10: float = 0.0
    cold_first_ms: float = 0.0
    cold_p50_ms: float = 0.0
    cold_p99_ms: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    memory_bytes: int = 0
    nodes_per_query: float = 0.0


class DemoReport(msgspec.Struct, kw_only=True):
    """The figures of a demo. ``restarted``: measured with new node processes that have the chunks on disk."""

    blobs: str = ""
    nodes: int = 0
    collections: dict[str, CollectionFigures] = {}
    restarted_p50_ms: float = 0.0
    restarted_p99_ms: float = 0.0
    tiers: dict[str, dict[str, int]] = {}
    """Hits by pass over the words' queries, and by layer."""
    qps: float = 0.0
    clients: int = 0
    resize_qps: float = 0.0
    resize_seconds: float = 0.0
    resize_queries: int = 0
    moved_slots: int = 0
    virtual_nodes: int = 0
    failed_queries: int = 0
    wrong_answers: int = 0
    unclean_exits: int = 0
    seconds: float = 0.0

    @property
    def faults(self) -> list[str]:
        """Descriptions of the faults. Empty if there are none."""
        checks = {
            f"{self.failed_queries} queries failed": self.failed_queries > 0,
            f"{self.wrong_answers} answers differ from earlier ones": self.wrong_answers > 0,
            f"{self.unclean_exits} processes did not exit cleanly": self.unclean_exits > 0,
        }
        for name, figures in self.collections.items():
            recall = figures.recall_at_10
            checks[f"the recall of {name}, {recall:.3f}, is below {LEAST_RECALL}"] = recall < LEAST_RECALL
        return [fault for fault, there in checks.items() if there]

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self)) + b"\n")
