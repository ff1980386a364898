from __future__ import annotations

from prometheus_client import CollectorRegistry

from vectorcache_router import Cluster
from vectorcache_router.metrics import RouterMetrics


async def test_the_metrics_are_the_nodes_as_the_router_sees_them(cluster: Cluster) -> None:
    registry = CollectorRegistry()
    registry.register(RouterMetrics(cluster))
    assert registry.get_sample_value("vectorcache_router_nodes") == 2
    assert registry.get_sample_value("vectorcache_router_suspect_nodes") == 0
    counts = cluster.ring.slot_counts()
    for name, slots in counts.items():
        assert registry.get_sample_value("vectorcache_router_node_slots", {"node": name}) == slots
    cluster.health.failed("node-0")
    assert registry.get_sample_value("vectorcache_router_suspect_nodes") == 1
    await cluster.adopt({})
    assert registry.get_sample_value("vectorcache_router_nodes") == 0
    assert registry.get_sample_value("vectorcache_router_node_slots", {"node": "node-0"}) is None
