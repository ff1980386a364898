"""The cache node: an HTTP server that searches cells from memory, disk and blob storage.

This package contains the settings, the wiring, the HTTP handlers and the metrics of a node. Caching and search are
implemented by the ``vectorcache`` library, and HTTP serving by ``vectorcache_service``. For its flags, run
``python -m vectorcache_node --help``.
"""

from vectorcache_node.node import CacheNode, open_node
from vectorcache_node.settings import NodeSettings

__all__ = ["CacheNode", "NodeSettings", "open_node"]
