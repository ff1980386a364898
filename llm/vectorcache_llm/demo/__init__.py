"""``vectorcache llm demo``: a cache of real questions, queried with paraphrases and traps, without a network.

``report`` holds the figures, ``steps`` runs the demo, and ``narrator`` prints it on a terminal.
"""

from vectorcache_llm.demo.report import DemoReport
from vectorcache_llm.demo.steps import run_demo

__all__ = ["DemoReport", "run_demo"]
