import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from vectorcache.errors import InvalidInput, Unavailable
from vectorcache_llm.metrics import Metrics, Price
from vectorcache_llm.observer import Outcome


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of a cache with two tiers: an exact hit in memory, a semantic one in Redis, and a miss."""
    metrics = Metrics({"small": Price(prompt=1.0, completion=4.0)})
    for outcome, seconds, tier in ((Outcome.EXACT, 0.001, "memory"), (Outcome.SEMANTIC, 0.003, "redis")):
        metrics.looked_up("response", "acme", outcome, seconds, key="k1")
        metrics.looked_up("response", "acme", outcome, seconds / 2, tier=tier)
    metrics.looked_up("response", "other-inc", Outcome.MISS, 0.2, key="k2")
    metrics.stored("response", "acme", "memory", 1000)
    metrics.stored("response", "acme", "memory", 500)
    metrics.removed("response", "memory", 3, "evicted")
    metrics.failed("response", "redis", "get", Unavailable("away"))
    metrics.saved("acme", "small", 2_000_000, 500_000)
    metrics.saved("acme", "unknown", 10, 20)
    return metrics


def test_hits_and_misses_of_a_cache_are_those_of_the_whole(metrics: Metrics) -> None:
    response = metrics.as_dict()["caches"]["response"]
    assert (response["lookups"], response["hits"], response["misses"]) == (3, 2, 1)
    assert response["hit_rate"] == pytest.approx(2 / 3)
    assert response["outcomes"] == {"exact": 1, "semantic": 1, "miss": 1}
    assert {name: one["hits"] for name, one in response["tenants"].items()} == {"acme": 2, "other-inc": 0}


def test_tiers_are_counted_separately(metrics: Metrics) -> None:
    tiers = metrics.as_dict()["caches"]["response"]["tiers"]
    assert {name: one["hits"] for name, one in tiers.items()} == {"memory": 1, "redis": 1}
    assert (tiers["memory"]["stores"], tiers["memory"]["stored_bytes"]) == (2, 1500)
    assert tiers["memory"]["removals"] == {"evicted": 3}
    assert tiers["redis"]["failures"] == {"Unavailable": 1}


def test_latencies_of_hits_and_misses_are_separate(metrics: Metrics) -> None:
    latency = metrics.as_dict()["caches"]["response"]["latency"]
    assert latency["hits"]["p99_ms"] == pytest.approx(3, rel=0.02)
    assert latency["misses"]["p50_ms"] == pytest.approx(200, rel=0.02)
    assert latency["all"]["count"] == 3


def test_money_is_counted_for_models_with_a_price(metrics: Metrics) -> None:
    saved = metrics.as_dict()["saved"]
    assert (saved["calls"], saved["prompt_tokens"], saved["completion_tokens"]) == (2, 2_000_010, 500_020)
    assert saved["money"] == pytest.approx(2 + 2)
    assert (saved["unpriced_calls"], saved["models"]["unknown"]["money"]) == (1, None)


def test_hot_keys(metrics: Metrics) -> None:
    assert metrics.as_dict()["caches"]["response"]["hot_keys"][0] == {"key": "k1", "times": 2, "error": 0}


def test_label_values_beyond_the_bound_count_together() -> None:
    metrics = Metrics({"priced": Price(1, 1)}, tenants=2, models=1)
    for number in range(10):
        metrics.looked_up("response", f"tenant-{number}", Outcome.EXACT, 0.001)
        metrics.saved(f"tenant-{number}", f"model-{number}", 1, 1)
    metrics.saved("tenant-0", "priced", 1, 1)
    found = metrics.as_dict()
    assert {name: one["hits"] for name, one in found["caches"]["response"]["tenants"].items()} == {
        "tenant-0": 1,
        "tenant-1": 1,
        "other": 8,
    }
    assert {name: one["calls"] for name, one in found["saved"]["models"].items()} == {
        "model-0": 1,
        "other": 9,
        "priced": 1,
    }


def test_counts_round_trip_in_json_and_add_up(metrics: Metrics) -> None:
    state = json.loads(json.dumps(metrics.dump()))
    again = Metrics(metrics.prices)
    again.load(state)
    assert again.as_dict() == metrics.as_dict()
    again.load(state)
    twice = again.as_dict()
    assert twice["caches"]["response"]["lookups"] == 6
    assert twice["saved"]["calls"] == 4
    assert twice["caches"]["response"]["hot_keys"][0]["times"] == 4


def test_as_dict_is_json(metrics: Metrics) -> None:
    assert json.loads(json.dumps(metrics.as_dict())) == metrics.as_dict()


def test_threads_lose_nothing() -> None:
    metrics = Metrics()
    with ThreadPoolExecutor(8) as threads:
        for _ in range(8):
            threads.submit(
                lambda: [
                    metrics.looked_up("response", "acme", Outcome.EXACT, 0.001, key="k") for _ in range(500)
                ]
            )
    found = metrics.as_dict()["caches"]["response"]
    assert (found["hits"], found["hot_keys"][0]["times"], found["latency"]["all"]["count"]) == (
        4000,
        4000,
        4000,
    )


@pytest.mark.parametrize("setting", [{"tenants": -1}, {"models": -1}, {"hot_keys": 0}])
def test_invalid_limits_are_rejected(setting: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(setting))):
        Metrics(**setting)


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf")])
def test_invalid_prices_are_rejected(price: float) -> None:
    with pytest.raises(InvalidInput, match="prompt"):
        Price(prompt=price, completion=0)
