from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry
from tests.support.core.queries import cell_query
from tests.support.servers import Words

from vectorcache_node import CacheNode
from vectorcache_node.metrics import NodeMetrics


def registry_of(node: CacheNode) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(NodeMetrics(node))
    return registry


async def test_the_metrics_are_the_counters(node: CacheNode, words: Words) -> None:
    registry = registry_of(node)
    assert registry.get_sample_value("vectorcache_node_queries_total") == 0
    cells = np.arange(60, dtype=np.int32)
    for _ in range(2):
        await node.search(cell_query("dot", 1, words.queries(3), [cells] * 3, 2))

    chunks, rows = len(words.manifests["dot"].chunks), words.manifests["dot"].rows
    assert registry.get_sample_value("vectorcache_node_queries_total") == 6
    assert registry.get_sample_value("vectorcache_node_scanned_rows_total") == 6 * rows
    memory = {"layer": "memory"}
    assert registry.get_sample_value("vectorcache_layer_hits_total", memory) == chunks
    assert registry.get_sample_value("vectorcache_layer_hits_total", {"layer": "blob"}) == chunks
    assert registry.get_sample_value("vectorcache_layer_items", memory) == chunks
    assert registry.get_sample_value("vectorcache_layer_capacity_bytes", memory) == 64 << 20
    assert registry.get_sample_value("vectorcache_layer_items", {"layer": "blob"}) is None, "nobody knows"
    for name in ("misses", "evictions", "errors", "corrupt"):
        assert registry.get_sample_value(f"vectorcache_layer_{name}_total", {"layer": "disk"}) is not None


async def test_load_times_are_a_histogram(node: CacheNode, words: Words) -> None:
    await node.prefetch("dot", 1, range(20), 10)
    registry = registry_of(node)
    times = next(layer.load_times for layer in node.layers() if layer.name == "blob")
    name, labels = "vectorcache_layer_load_seconds", {"layer": "blob"}
    assert registry.get_sample_value(f"{name}_count", labels) == times.count == 20
    assert registry.get_sample_value(f"{name}_sum", labels) == times.total_seconds
    assert registry.get_sample_value(f"{name}_bucket", labels | {"le": "+Inf"}) == 20
    buckets = [
        sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == f"{name}_bucket" and sample.labels["layer"] == "blob"
    ]
    assert buckets == sorted(buckets)
