"""``vectorcache demo``: real word vectors on the whole path, told step by step and measured.

``words`` has the data, ``questions`` asks and keeps the score, ``tiers`` counts where answers came from, ``report``
holds the figures, ``steps`` is the demo itself.
"""

from vectorcache_client.demo.report import DemoReport
from vectorcache_client.demo.steps import DemoSettings, run_demo

__all__ = ["DemoReport", "DemoSettings", "run_demo"]
