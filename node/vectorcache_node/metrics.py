"""The Prometheus metrics of a node, collected from its counters on every scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from vectorcache.layers.base import LOAD_TIME_BOUNDS, LayerStats, LoadTimes
from vectorcache_node.node import CacheNode
from vectorcache_node.warmup import WarmUp

_COUNTERS: dict[str, tuple[str, Callable[[LayerStats], int]]] = {
    "hits": ("Reads that found their entry in the layer", lambda layer: layer.hits),
    "misses": ("Reads that did not find their entry in the layer", lambda layer: layer.misses),
    "evictions": ("Entries evicted to make room for others", lambda layer: layer.evictions),
    "errors": ("Failures of the layer that were tolerated", lambda layer: layer.errors),
    "corrupt": ("Corrupt entries that were removed", lambda layer: layer.corrupt),
}
_GAUGES: dict[str, tuple[str, Callable[[LayerStats], int | None]]] = {
    "items": ("Entries in the layer", lambda layer: layer.items),
    "bytes": ("Bytes used by the layer, including overhead", lambda layer: layer.bytes),
    "capacity_bytes": ("Capacity of the layer in bytes", lambda layer: layer.capacity_bytes),
}


class NodeMetrics(Collector):
    """Counters of the node and of each of its layers."""

    def __init__(self, node: CacheNode) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics."""
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
    """Progress of the warm-up of a node."""

    def __init__(self, warm_up: WarmUp) -> None:
        self._warm_up = warm_up

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics."""
        warm_up = self._warm_up
        planned = warm_up.planned or 0
        yield GaugeMetricFamily("vectorcache_node_warmup_chunks", "Chunks that the warm-up loads", planned)
        yield GaugeMetricFamily(
            "vectorcache_node_warmup_loaded_chunks",
            "Chunks that the warm-up has loaded",
            warm_up.loaded,
        )
        yield GaugeMetricFamily("vectorcache_node_warmup_seconds", "Duration of the warm-up", warm_up.seconds)
        done = float(warm_up.done)
        yield GaugeMetricFamily("vectorcache_node_warmup_done", "Whether the warm-up has ended", done)


def _load_seconds(layers: tuple[LayerStats, ...]) -> HistogramMetricFamily:
    histogram = HistogramMetricFamily(
        "vectorcache_layer_load_seconds", "Time that reads waited for the layer", labels=["layer"]
    )
    for layer in layers:
        histogram.add_metric([layer.name], _buckets(layer.load_times), layer.load_times.total_seconds)
    return histogram


def _buckets(times: LoadTimes) -> list[tuple[str, float]]:
    bounds = [*(str(bound) for bound in LOAD_TIME_BOUNDS), "+Inf"]
    return list(zip(bounds, accumulate(times.buckets), strict=True))
