"""``vectorcache demo``: real word vectors and passages on the whole path, told step by step and measured.

``words`` and ``passages`` have the data, ``questions`` asks and keeps the score, ``tally`` counts what the nodes did,
``report`` holds the figures, ``steps`` is the demo itself.
"""

from vectorcache_tools.demo.report import DemoReport
from vectorcache_tools.demo.steps import DemoSettings, run_demo

__all__ = ["DemoReport", "DemoSettings", "run_demo"]
