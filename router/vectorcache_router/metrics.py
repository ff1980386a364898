"""The router's Prometheus metrics beside those of requests."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vectorcache_router.cluster import Cluster


class RouterMetrics(Collector):
    """The nodes as this router sees them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        nodes = self._cluster.nodes
        yield GaugeMetricFamily("vectorcache_router_nodes", "Nodes on the ring", len(nodes))
        suspects = self._cluster.health.suspects()
        yield GaugeMetricFamily("vectorcache_router_suspect_nodes", "Nodes that failed lately", len(suspects))
        away = len(self._cluster.health.away)
        yield GaugeMetricFamily("vectorcache_router_away_nodes", "Nodes on the ring that are away", away)
        partial = self._cluster.partial_answers
        yield CounterMetricFamily("vectorcache_router_partial_answers", "Answers not complete", partial)
        storage = self._cluster.storage
        reachable = float(storage.reached and not storage.failure)
        yield GaugeMetricFamily(
            "vectorcache_router_blob_reachable", "Whether the blob store answers", reachable
        )
        slots = GaugeMetricFamily("vectorcache_router_node_slots", "Slots that a node owns", labels=["node"])
        for name, count in self._cluster.ring.slot_counts().items() if nodes else ():
            slots.add_metric([name], count)
        yield slots
