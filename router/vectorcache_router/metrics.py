"""The Prometheus metrics of a router, in addition to those of its requests."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vectorcache_router.cluster import Cluster


class RouterMetrics(Collector):
    """Metrics of the nodes, the blob store and the answers of this router."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics."""
        nodes = self._cluster.nodes
        yield GaugeMetricFamily("vectorcache_router_nodes", "Nodes on the ring", len(nodes))
        suspects = self._cluster.health.suspects()
        yield GaugeMetricFamily(
            "vectorcache_router_suspect_nodes", "Nodes that are asked last", len(suspects)
        )
        away = len(self._cluster.health.away)
        yield GaugeMetricFamily("vectorcache_router_away_nodes", "Nodes on the ring that are not ready", away)
        partial = self._cluster.partial_answers
        yield CounterMetricFamily("vectorcache_router_partial_answers", "Partial answers", partial)
        storage = self._cluster.storage
        reachable = float(storage.reached and not storage.failure)
        yield GaugeMetricFamily(
            "vectorcache_router_blob_reachable", "Whether the blob store responds", reachable
        )
        slots = GaugeMetricFamily("vectorcache_router_node_slots", "Slots owned by the node", labels=["node"])
        for name, count in self._cluster.ring.slot_counts().items() if nodes else ():
            slots.add_metric([name], count)
        yield slots
