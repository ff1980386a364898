"""What the caches did, counted in bounded memory: as a dictionary, and for Prometheus.

``sketch`` has the quantiles, ``hot`` the hot keys, ``prices`` the money, ``counters`` the rest; ``metrics`` is the
observer, ``summary`` and ``prometheus`` show what it counted.
"""

from vectorcache_llm.metrics.metrics import Metrics
from vectorcache_llm.metrics.prices import Price
from vectorcache_llm.metrics.prometheus import MetricsCollector

__all__ = ["Metrics", "MetricsCollector", "Price"]
