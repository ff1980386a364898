"""The store on a Redis server: one string per entry.

This package contains the encoding of keys and entries (``codec``), the client with deadlines (``link``), and the store
(``store``). ``redis`` is imported only when a store is constructed.
"""

from vectorcache_llm.kv.redis.store import RedisStore

__all__ = ["RedisStore"]
