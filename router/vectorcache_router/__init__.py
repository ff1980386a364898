"""The router: an HTTP server that distributes searches over the cache nodes.

This package contains the settings, the membership of nodes, the client of a node, the served collections and the HTTP
handlers. Scattering and merging of searches is implemented by ``vectorcache.routing``, and HTTP serving by
``vectorcache_service``. For its flags, run ``python -m vectorcache_router --help``.
"""

from vectorcache_router.cluster import Cluster, open_cluster
from vectorcache_router.settings import RouterSettings

__all__ = ["Cluster", "RouterSettings", "open_cluster"]
