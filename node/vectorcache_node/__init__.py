"""The cache node: searches cells over HTTP out of memory, disk and blob storage.

What lives here: settings, the wiring of one node, its HTTP handlers and metrics. How to cache and how to search is
the library's; how to serve HTTP is ``vectorcache_service``'s. Run it by ``python -m vectorcache_node --help``.
"""

from vectorcache_node.node import CacheNode, open_node
from vectorcache_node.settings import NodeSettings

__all__ = ["CacheNode", "NodeSettings", "open_node"]
