"""Metrics of the caches in bounded memory, as a dictionary and for Prometheus.

``sketch`` holds the quantiles, ``hot`` the hot keys, ``prices`` the prices of models and ``counters`` the counters.
``metrics`` is the observer that updates them; ``summary`` and ``prometheus`` present them.
"""

from vectorcache_llm.metrics.metrics import Metrics
from vectorcache_llm.metrics.prices import Price
from vectorcache_llm.metrics.prometheus import MetricsCollector

__all__ = ["Metrics", "MetricsCollector", "Price"]
