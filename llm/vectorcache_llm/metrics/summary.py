"""Metrics as a dictionary, for people and dashboards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from vectorcache_llm.metrics.counters import Counters, Labels
from vectorcache_llm.metrics.hot import HotKeys
from vectorcache_llm.metrics.prices import Price
from vectorcache_llm.metrics.sketch import Sketch
from vectorcache_llm.observer import Outcome

HITS = frozenset({Outcome.EXACT.value, Outcome.SEMANTIC.value, Outcome.STALE.value})
"""The outcomes that return a value."""

SHOWN_KEYS = 10
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

Row = tuple[dict[str, str], int]


def summarise(
    counters: Counters,
    latencies: Mapping[Labels, Sketch],
    hot: Mapping[str, HotKeys],
    prices: Mapping[str, Price],
) -> dict[str, Any]:
    """Return all metrics by cache, and the savings."""
    names = {
        row["cache"]
        for kind in ("lookups", "stores", "removals", "failures")
        for row, _ in counters.rows(kind)
    }
    return {
        "caches": {name: _cache(name, counters, latencies, hot) for name in sorted(names)},
        "saved": _saved(counters, prices),
    }


def latency(sketches: Iterable[Sketch]) -> dict[str, float | int]:
    """Return the count of durations, and their mean and quantiles in milliseconds."""
    whole = Sketch()
    for sketch in sketches:
        whole.merge(sketch)
    found = whole.quantiles(*QUANTILES.values())
    mean = whole.total / whole.count if whole.count else 0.0
    milliseconds = {"mean": mean, **dict(zip(QUANTILES, found, strict=True))}
    return {"count": whole.count, **{f"{name}_ms": value * 1e3 for name, value in milliseconds.items()}}


def _cache(
    name: str, counters: Counters, latencies: Mapping[Labels, Sketch], hot: Mapping[str, HotKeys]
) -> dict[str, Any]:
    lookups = [(row, count) for row, count in counters.rows("lookups") if row["cache"] == name]
    whole = [(row, count) for row, count in lookups if not row["tier"]]
    times = {place[1:]: sketch for place, sketch in latencies.items() if place[0] == name}
    return {
        **_hits(whole),
        "latency": _latencies("", times),
        "tenants": {tenant: _hits(rows) for tenant, rows in _by("tenant", whole).items()},
        "tiers": {tier: _tier(name, tier, counters, lookups, times) for tier in _tiers(name, counters)},
        "failures": _sums("operation", counters, "failures", cache=name),
        "hot_keys": [one._asdict() for one in hot[name].top(SHOWN_KEYS)] if name in hot else [],
    }


def _tiers(name: str, counters: Counters) -> list[str]:
    kinds = ("lookups", "stores", "removals", "failures")
    found = {row["tier"] for kind in kinds for row, _ in counters.rows(kind) if row["cache"] == name}
    return sorted(found - {""})


def _tier(
    name: str, tier: str, counters: Counters, lookups: list[Row], times: Mapping[Labels, Sketch]
) -> dict[str, Any]:
    labels = {"cache": name, "tier": tier}
    return {
        **_hits([(row, count) for row, count in lookups if row["tier"] == tier]),
        "latency": _latencies(tier, times),
        "stores": sum(_sums("cache", counters, "stores", **labels).values()),
        "stored_bytes": sum(_sums("cache", counters, "stored_bytes", **labels).values()),
        "removals": _sums("reason", counters, "removals", **labels),
        "failures": _sums("error", counters, "failures", **labels),
    }


def _hits(rows: list[Row]) -> dict[str, Any]:
    outcomes: Counter[str] = Counter()
    for row, count in rows:
        outcomes[row["outcome"]] += count
    total = outcomes.total()
    hits = sum(outcomes[outcome] for outcome in HITS)
    return {
        "lookups": total,
        "hits": hits,
        "misses": total - hits,
        "hit_rate": hits / total if total else 0.0,
        "outcomes": dict(outcomes),
    }


def _latencies(tier: str, times: Mapping[Labels, Sketch]) -> dict[str, Any]:
    """Return the latencies of all lookups, of hits and of misses, which differ by orders of magnitude."""
    here = {outcome: sketch for (place, outcome), sketch in times.items() if place == tier}
    hits = [sketch for outcome, sketch in here.items() if outcome in HITS]
    misses = [sketch for outcome, sketch in here.items() if outcome not in HITS]
    return {"all": latency(here.values()), "hits": latency(hits), "misses": latency(misses)}


def _saved(counters: Counters, prices: Mapping[str, Price]) -> dict[str, Any]:
    models: dict[str, Any] = {}
    for model, calls in _sums("model", counters, "saved_calls").items():
        prompt = _sums("model", counters, "saved_prompt_tokens", model=model)[model]
        completion = _sums("model", counters, "saved_completion_tokens", model=model)[model]
        price = prices.get(model)
        models[model] = {
            "calls": calls,
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "money": None if price is None else price.of(prompt, completion),
        }
    return {
        **{
            field: sum(one[field] for one in models.values())
            for field in ("calls", "prompt_tokens", "completion_tokens")
        },
        "money": sum(one["money"] or 0.0 for one in models.values()),
        "unpriced_calls": sum(one["calls"] for one in models.values() if one["money"] is None),
        "models": models,
        "tenants": _sums("tenant", counters, "saved_calls"),
    }


def _by(label: str, rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row, count in rows:
        found.setdefault(row[label], []).append((row, count))
    return found


def _sums(label: str, counters: Counters, kind: str, **where: str) -> dict[str, int]:
    """Return the sums of a counter by one label, for the rows that have the labels ``where``."""
    found: Counter[str] = Counter()
    for row, count in counters.rows(kind):
        if where.items() <= row.items():
            found[row[label]] += count
    return dict(found)
