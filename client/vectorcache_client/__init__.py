"""Python clients of a router's HTTP API: ``AsyncClient`` for asyncio, and ``Client`` for synchronous programs.

They need the extra ``vectorcache[client]``. The messages are defined in ``vectorcache.wire.public``.
"""

from vectorcache_client.client import AsyncClient
from vectorcache_client.sync import Client

__all__ = ["AsyncClient", "Client"]
