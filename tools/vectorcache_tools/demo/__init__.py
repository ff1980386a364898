"""``vectorcache demo``: build, serve and search real word vectors and passages step by step, and measure the searches.

``words`` and ``passages`` load the data, ``questions`` runs queries and scores the answers, ``tally`` reads the nodes'
counters, ``report`` contains the figures, and ``steps`` implements the demo.
"""

from vectorcache_tools.demo.report import DemoReport
from vectorcache_tools.demo.steps import DemoSettings, run_demo

__all__ = ["DemoReport", "DemoSettings", "run_demo"]
