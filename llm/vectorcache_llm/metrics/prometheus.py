"""Metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from vectorcache_llm.metrics.counters import KINDS
from vectorcache_llm.metrics.metrics import Metrics
from vectorcache_llm.metrics.sketch import Sketch
from vectorcache_llm.metrics.summary import QUANTILES

PREFIX = "vectorcache_llm_"
BOUNDS = (
    1e-5,
    2.5e-5,
    5e-5,
    1e-4,
    2.5e-4,
    5e-4,
    1e-3,
    2.5e-3,
    5e-3,
    1e-2,
    2.5e-2,
    5e-2,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
)
"""Bounds of the histogram in seconds, from an exact in-process hit to a slow server."""


class MetricsCollector(Collector):
    """Collector for a ``Metrics``: ``registry.register(MetricsCollector(metrics))``.

    The number of series is bounded, because the numbers of tenants, models and tiers are. The bounds of the histogram
    and all quantiles are accurate to 1 %.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> list[Metric]:
        """Return no metrics, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return all metrics with their current values."""
        with self._metrics.lock:
            return iter([*self._counters(), self._money(), *self._latencies()])

    def _counters(self) -> Iterator[Metric]:
        for kind, (about, labels) in KINDS.items():
            family = CounterMetricFamily(PREFIX + kind, about, labels=labels)
            for row, count in self._metrics.counters.rows(kind):
                family.add_metric(list(row.values()), count)
            yield family

    def _money(self) -> Metric:
        about = "Money saved by hits, in the currency of the prices"
        family = CounterMetricFamily(PREFIX + "saved_money", about, labels=["model"])
        for model, saved in self._metrics.as_dict()["saved"]["models"].items():
            if saved["money"] is not None:
                family.add_metric([model], saved["money"])
        return family

    def _latencies(self) -> Iterator[Metric]:
        labels = ["cache", "tier", "outcome"]
        times = HistogramMetricFamily(
            PREFIX + "lookup_seconds", "Duration of lookups in seconds", labels=labels
        )
        about = "Quantiles of the duration of lookups in seconds since the process started"
        quantiles = GaugeMetricFamily(PREFIX + "lookup_seconds_quantile", about, labels=[*labels, "quantile"])
        for place, sketch in self._metrics.latencies.items():
            times.add_metric(list(place), _buckets(sketch), sketch.total)
            for share, seconds in zip(QUANTILES.values(), sketch.quantiles(*QUANTILES.values()), strict=True):
                quantiles.add_metric([*place, str(share)], seconds)
        yield times
        yield quantiles


def _buckets(sketch: Sketch) -> list[tuple[str, float]]:
    counts = [float(count) for count in sketch.at_most(*BOUNDS)]
    return [*zip(map(str, BOUNDS), counts, strict=True), ("+Inf", float(sketch.count))]
