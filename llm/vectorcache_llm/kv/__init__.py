"""Key-value stores: bytes under a scope and a key, in memory, in a file, on Redis.

What lives here: the interface (``base``), what all ask of entries (``checks``), and a store for each backend. What
never does: what the bytes mean.
"""

from vectorcache_llm.kv.base import MAX_KEY_BYTES, Entry, KeyValueStore, StoreStats
from vectorcache_llm.kv.eviction import POLICIES, EvictionPolicy
from vectorcache_llm.kv.memory import MemoryStore
from vectorcache_llm.kv.redis import RedisStore
from vectorcache_llm.kv.sqlite import SQLiteStore

__all__ = [
    "MAX_KEY_BYTES",
    "POLICIES",
    "Entry",
    "EvictionPolicy",
    "KeyValueStore",
    "MemoryStore",
    "RedisStore",
    "SQLiteStore",
    "StoreStats",
]
