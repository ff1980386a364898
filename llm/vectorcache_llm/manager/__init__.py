"""The manager: one interface to all caches.

``report`` holds the results of operations, ``transfer`` the file format of exports, ``warming`` that of prompts with
replies, and ``manager`` the interface.
"""

from vectorcache_llm.manager.manager import Manager
from vectorcache_llm.manager.report import Report

__all__ = ["Manager", "Report"]
