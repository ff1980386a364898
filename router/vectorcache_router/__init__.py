"""The router: takes searches over HTTP and spreads them over the cache nodes.

What lives here: settings, which nodes there are, the client of a node, which collections are served, the HTTP
handlers. How a search is spread and merged is the library's (``vectorcache.routing``); how to serve HTTP is
``vectorcache_service``'s. Run it by ``python -m vectorcache_router --help``.
"""

from vectorcache_router.cluster import Cluster, open_cluster
from vectorcache_router.settings import RouterSettings

__all__ = ["Cluster", "RouterSettings", "open_cluster"]
