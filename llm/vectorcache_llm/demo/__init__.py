"""``vectorcache llm demo``: a cache of real questions, asked anew in other words, and set traps; no network.

``report`` holds the figures, ``steps`` is the demo itself, ``narrator`` tells it on a terminal.
"""

from vectorcache_llm.demo.report import DemoReport
from vectorcache_llm.demo.steps import run_demo

__all__ = ["DemoReport", "run_demo"]
