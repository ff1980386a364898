"""What a server counts about its requests, for Prometheus."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RequestMetrics:
    """Requests by route, method and status, how long they took, and how many run.

    Routes are path templates, never paths, so that callers cannot grow the number of series.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("route", "method")
        requests = Counter(
            "vectorcache_http_requests", "Requests answered", (*labels, "status"), registry=registry
        )
        seconds = Histogram(
            "vectorcache_http_request_seconds",
            "Time from a request's headers to its answer",
            labels,
            buckets=SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("vectorcache_http_requests_in_flight", "Requests that run", registry=registry)
        ProcessCollector(registry=registry)
        # labels() costs more than all the rest; the combinations are few.
        self._requests = cache(requests.labels)
        self._seconds = cache(seconds.labels)

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request that has ended."""
        self._requests(route, method, status).inc()
        self._seconds(route, method).observe(seconds)
