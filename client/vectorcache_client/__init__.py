"""The client of VectorCache: the router's API in Python, and the ``vectorcache`` command.

What lives here: ``AsyncClient`` and ``Client``, the command (``cli``, ``demo``) and the cluster of processes that it
runs on one machine (``local``). What never does: a server; the types that travel are ``vectorcache.wire``'s.
The clients need the extra ``vectorcache[client]``, the command ``vectorcache[cli]``.
"""

from vectorcache_client.client import AsyncClient
from vectorcache_client.sync import Client

__all__ = ["AsyncClient", "Client"]
