"""Prometheus metrics of a server's requests."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RequestMetrics:
    """Counts and latencies of requests by route, method and status, and the number of requests in flight.

    Routes are path templates, never paths, so callers cannot increase the number of time series.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("route", "method")
        requests = Counter(
            "vectorcache_http_requests", "Completed requests", (*labels, "status"), registry=registry
        )
        seconds = Histogram(
            "vectorcache_http_request_seconds",
            "Time from the headers of a request to its response",
            labels,
            buckets=SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("vectorcache_http_requests_in_flight", "Requests in flight", registry=registry)
        ProcessCollector(registry=registry)
        # labels() costs more than the rest of observe(), and there are few combinations.
        self._requests = cache(requests.labels)
        self._seconds = cache(seconds.labels)

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one completed request."""
        self._requests(route, method, status).inc()
        self._seconds(route, method).observe(seconds)
