"""The store on a Redis server: one string for each entry.

What lives here: names and bytes of entries (``codec``), calls within a deadline (``link``), and the store
(``store``). ``redis`` itself is imported when a store is made.
"""

from vectorcache_llm.kv.redis.store import RedisStore

__all__ = ["RedisStore"]
