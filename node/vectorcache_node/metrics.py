"""The node's Prometheus metrics, read from its counters when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from vectorcache.layers.base import LOAD_TIME_BOUNDS, LayerStats, LoadTimes
from vectorcache_node.node import CacheNode
from vectorcache_node.warmup import WarmUp

_COUNTERS: dict[str, tuple[str, Callable[[LayerStats], int]]] = {
    "hits": ("Reads that a layer answered", lambda layer: layer.hits),
    "misses": ("Reads that a layer passed on", lambda layer: layer.misses),
    "evictions": ("Entries that left for others", lambda layer: layer.evictions),
    "errors": ("Failures of a layer that were passed over", lambda layer: layer.errors),
    "corrupt": ("Damaged entries that were removed", lambda layer: layer.corrupt),
}
_GAUGES: dict[str, tuple[str, Callable[[LayerStats], int | None]]] = {
    "items": ("Entries that a layer holds", lambda layer: layer.items),
    "bytes": ("Bytes that a layer holds, overhead included", lambda layer: layer.bytes),
    "capacity_bytes": ("Bytes that a layer may hold", lambda layer: layer.capacity_bytes),
}


class NodeMetrics(Collector):
    """Counters of the node and of each of its layers."""

    def __init__(self, node: CacheNode) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        node = self._node
        yield CounterMetricFamily("vectorcache_node_queries", "Queries searched", node.queries)
        yield CounterMetricFamily("vectorcache_node_scanned_rows", "Rows compared", node.scanned)
        layers = node.layers()
        for name, (text, value) in _COUNTERS.items():
            counter = CounterMetricFamily(f"vectorcache_layer_{name}", text, labels=["layer"])
            for layer in layers:
                counter.add_metric([layer.name], value(layer))
            yield counter
        for name, (text, size) in _GAUGES.items():
            gauge = GaugeMetricFamily(f"vectorcache_layer_{name}", text, labels=["layer"])
            for layer in layers:
                held = size(layer)
                if held is not None:
                    gauge.add_metric([layer.name], held)
            yield gauge
        yield _load_seconds(layers)


class WarmUpMetrics(Collector):
    """How far the warm-up of a node is, or was when it ended."""

    def __init__(self, warm_up: WarmUp) -> None:
        self._warm_up = warm_up

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        warm_up = self._warm_up
        planned = warm_up.planned or 0
        yield GaugeMetricFamily("vectorcache_node_warmup_chunks", "Chunks to load at the start", planned)
        yield GaugeMetricFamily(
            "vectorcache_node_warmup_loaded_chunks",
            "Of them, those in the cache when it ended",
            warm_up.loaded,
        )
        yield GaugeMetricFamily("vectorcache_node_warmup_seconds", "Time that this took", warm_up.seconds)
        done = float(warm_up.done)
        yield GaugeMetricFamily("vectorcache_node_warmup_done", "Whether it has ended", done)


def _load_seconds(layers: tuple[LayerStats, ...]) -> HistogramMetricFamily:
    histogram = HistogramMetricFamily(
        "vectorcache_layer_load_seconds", "Time of reads that had to wait for a layer", labels=["layer"]
    )
    for layer in layers:
        histogram.add_metric([layer.name], _buckets(layer.load_times), layer.load_times.total_seconds)
    return histogram


def _buckets(times: LoadTimes) -> list[tuple[str, float]]:
    bounds = [*(str(bound) for bound in LOAD_TIME_BOUNDS), "+Inf"]
    return list(zip(bounds, accumulate(times.buckets), strict=True))
