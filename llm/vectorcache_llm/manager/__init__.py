"""The manager: one face over all caches.

``report`` says what was done and what failed, ``transfer`` has the export's file format, ``warming`` that of prompts
with replies, ``manager`` is the face.
"""

from vectorcache_llm.manager.manager import Manager
from vectorcache_llm.manager.report import Report

__all__ = ["Manager", "Report"]
