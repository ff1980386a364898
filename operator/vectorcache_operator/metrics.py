"""The operator's Prometheus metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from vectorcache_operator.names import Key

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_RESOURCE = ("namespace", "name")


class OperatorMetrics:
    """Metrics in their own registry. The series of a deleted resource are dropped."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)
        self.reconciles = Counter(
            "vectorcache_operator_reconciles", "Reconciles that succeeded", _RESOURCE, registry=registry
        )
        self.errors = Counter(
            "vectorcache_operator_reconcile_errors",
            "Reconciles that failed and are retried",
            _RESOURCE,
            registry=registry,
        )
        self.seconds = Histogram(
            "vectorcache_operator_reconcile_seconds",
            "Duration of a reconcile",
            buckets=SECONDS,
            registry=registry,
        )
        self.writes = Counter(
            "vectorcache_operator_writes", "Writes of objects", (*_RESOURCE, "kind"), registry=registry
        )
        self.conditions = Gauge(
            "vectorcache_operator_condition",
            "Conditions of resources: 1 true, 0 false, -1 unknown",
            (*_RESOURCE, "type"),
            registry=registry,
        )
        self.queue_depth = Gauge(
            "vectorcache_operator_queue_depth", "Resources waiting to be reconciled", registry=registry
        )
        self.cached_objects = Gauge(
            "vectorcache_operator_cached_objects", "Objects in the watch cache", registry=registry
        )
        self.cache_repairs = Counter(
            "vectorcache_operator_cache_repairs",
            "Deleted objects that the watch cache still contained",
            registry=registry,
        )
        self.api_requests = Counter(
            "vectorcache_operator_api_requests",
            "Requests to the Kubernetes API, without watches",
            ("method", "kind", "status"),
            registry=registry,
        )
        self.events_dropped = Counter(
            "vectorcache_operator_events_dropped",
            "Kubernetes Events that were not sent because of the rate limit",
            registry=registry,
        )

    def forget(self, key: Key) -> None:
        """Drop the series of a deleted resource."""
        for metric in (self.reconciles, self.errors, self.writes, self.conditions):
            metric.remove_by_labels({"namespace": key.namespace, "name": key.name})
