import pytest
from prometheus_client import CollectorRegistry, generate_latest

from vectorcache.errors import Unavailable
from vectorcache_llm.metrics import Metrics, MetricsCollector, Price
from vectorcache_llm.observer import Outcome


@pytest.fixture
def registry() -> CollectorRegistry:
    metrics = Metrics({"small": Price(prompt=1.0, completion=4.0)})
    metrics.looked_up("response", "acme", Outcome.EXACT, 0.002)
    metrics.looked_up("response", "acme", Outcome.EXACT, 0.004)
    metrics.stored("response", "acme", "memory", 1000)
    metrics.failed("response", "redis", "get", Unavailable("away"))
    metrics.saved("acme", "small", 1_000_000, 1_000_000)
    metrics.saved("acme", "unknown", 1, 1)
    registry = CollectorRegistry()
    registry.register(MetricsCollector(metrics))
    return registry


def test_counters_have_their_labels(registry: CollectorRegistry) -> None:
    where = {"cache": "response", "tier": "", "tenant": "acme", "outcome": "exact"}
    assert registry.get_sample_value("vectorcache_llm_lookups_total", where) == 2
    stored = {"cache": "response", "tier": "memory", "tenant": "acme"}
    assert registry.get_sample_value("vectorcache_llm_stored_bytes_total", stored) == 1000
    failed = {"cache": "response", "tier": "redis", "operation": "get", "error": "Unavailable"}
    assert registry.get_sample_value("vectorcache_llm_failures_total", failed) == 1


def test_latency_is_a_histogram_and_quantiles(registry: CollectorRegistry) -> None:
    where = {"cache": "response", "tier": "", "outcome": "exact"}
    assert registry.get_sample_value("vectorcache_llm_lookup_seconds_count", where) == 2
    assert registry.get_sample_value("vectorcache_llm_lookup_seconds_bucket", {**where, "le": "0.0025"}) == 1
    assert registry.get_sample_value("vectorcache_llm_lookup_seconds_bucket", {**where, "le": "+Inf"}) == 2
    found = registry.get_sample_value(
        "vectorcache_llm_lookup_seconds_quantile", {**where, "quantile": "0.99"}
    )
    assert found == pytest.approx(0.004, rel=0.02)


def test_money_of_models_with_a_price(registry: CollectorRegistry) -> None:
    assert registry.get_sample_value("vectorcache_llm_saved_money_total", {"model": "small"}) == 5
    assert registry.get_sample_value("vectorcache_llm_saved_money_total", {"model": "unknown"}) is None


def test_label_values_are_escaped() -> None:
    metrics = Metrics()
    metrics.looked_up("response", 'a"b\\c', Outcome.MISS, 0.1)
    registry = CollectorRegistry()
    registry.register(MetricsCollector(metrics))
    assert rb'tenant="a\"b\\c"' in generate_latest(registry)
