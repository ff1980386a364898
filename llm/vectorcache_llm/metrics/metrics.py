"""The observer that collects metrics."""

from __future__ import annotations

from collections.abc import Mapping
from threading import RLock
from typing import Any

from vectorcache.errors import InvalidInput
from vectorcache_llm.metrics.counters import Bound, Counters, Labels
from vectorcache_llm.metrics.hot import HotKey, HotKeys
from vectorcache_llm.metrics.prices import Price
from vectorcache_llm.metrics.sketch import Sketch
from vectorcache_llm.metrics.summary import summarise
from vectorcache_llm.observer import Observer, Outcome

MAX_TIERS = 100
"""Maximum number of tiers with their own label value. Only the program names tiers, so there are few."""

_LATENCY: Labels = ("cache", "tier", "outcome")


class Metrics(Observer):
    """Counts of lookups, latencies, bytes, removals, failures, hot keys and savings. Thread-safe.

    Memory is bounded: tenants and models beyond a limit count together as "other", quantiles have a relative error of
    1 % (``Sketch``), and the counts of hot keys may be too high (``HotKeys``).

    Args:
        prices: prices by model, for the money saved. Calls to other models count without a price.
        tenants: maximum number of tenants with their own label value.
        models: the same for models without a price.
        hot_keys: maximum number of hot keys of each cache.

    Raises:
        InvalidInput: a number is negative, or ``hot_keys`` is not positive.
    """

    def __init__(
        self,
        prices: Mapping[str, Price] | None = None,
        *,
        tenants: int = 100,
        models: int = 100,
        hot_keys: int = 100,
    ) -> None:
        for field, number, least in (
            ("tenants", tenants, 0),
            ("models", models, 0),
            ("hot_keys", hot_keys, 1),
        ):
            if number < least:
                raise InvalidInput(field, number, f"{least} or more")
        self.prices = dict(prices or {})
        self.lock = RLock()
        bounds = {"tenant": Bound(tenants), "model": Bound(models, self.prices), "tier": Bound(MAX_TIERS)}
        self.counters = Counters(bounds)
        self.latencies: dict[Labels, Sketch] = {}
        """Latencies by cache, tier and outcome."""
        self.hot: dict[str, HotKeys] = {}
        """Hot keys by cache."""
        self._hot_keys = hot_keys
        self._settings = {"tenants": tenants, "models": models, "hot_keys": hot_keys}

    def fresh(self) -> Metrics:
        """Return an empty instance with the same prices and limits."""
        return Metrics(self.prices, **self._settings)

    def looked_up(
        self, cache: str, tenant: str, outcome: Outcome, seconds: float, *, tier: str = "", key: str = ""
    ) -> None:
        """See ``Observer``."""
        with self.lock:
            self.counters.add("lookups", cache, tier, tenant, outcome.value)
            self._latency((cache, tier, outcome.value)).add(seconds)
            if key:
                self._hot(cache).add(key)

    def stored(self, cache: str, tenant: str, tier: str, size: int) -> None:
        """See ``Observer``."""
        with self.lock:
            self.counters.add("stores", cache, tier, tenant)
            self.counters.add("stored_bytes", cache, tier, tenant, by=size)

    def removed(self, cache: str, tier: str, count: int, reason: str) -> None:
        """See ``Observer``."""
        with self.lock:
            self.counters.add("removals", cache, tier, reason, by=count)

    def failed(self, cache: str, tier: str, operation: str, error: BaseException) -> None:
        """See ``Observer``."""
        with self.lock:
            self.counters.add("failures", cache, tier, operation, type(error).__name__)

    def saved(self, tenant: str, model: str, prompt_tokens: int, completion_tokens: int) -> None:
        """See ``Observer``."""
        with self.lock:
            self.counters.add("saved_calls", tenant, model)
            self.counters.add("saved_prompt_tokens", tenant, model, by=prompt_tokens)
            self.counters.add("saved_completion_tokens", tenant, model, by=completion_tokens)

    def as_dict(self) -> dict[str, Any]:
        """Return all metrics as JSON values. docs/llm/metrics.md describes their structure."""
        with self.lock:
            return summarise(self.counters, self.latencies, self.hot, self.prices)

    def dump(self) -> dict[str, Any]:
        """Return all counts as JSON values for ``load``."""
        with self.lock:
            return {
                "counters": self.counters.dump(),
                "latencies": [
                    [*place, one.total, list(one.buckets.items())] for place, one in self.latencies.items()
                ],
                "hot": {
                    cache: [list(one) for one in keys.top(len(keys))] for cache, keys in self.hot.items()
                },
            }

    def load(self, state: Mapping[str, Any]) -> None:
        """Add the ``dump`` of another instance, for example of an earlier process."""
        with self.lock:
            self.counters.load(state["counters"])
            for *place, total, buckets in state["latencies"]:
                self._latency(tuple(place)).merge(Sketch(dict(buckets), total))
            for cache, keys in state["hot"].items():
                self._hot(cache).merge(HotKey(*one) for one in keys)

    def _latency(self, place: Labels) -> Sketch:
        found = self.latencies.get(place)
        return (
            self.latencies.setdefault(self.counters.bounded(_LATENCY, place), Sketch())
            if found is None
            else found
        )

    def _hot(self, cache: str) -> HotKeys:
        found = self.hot.get(cache)
        if found is None:
            found = self.hot[cache] = HotKeys(self._hot_keys)
        return found
