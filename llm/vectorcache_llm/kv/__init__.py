"""Key-value stores, which map a scope and a key to bytes: in memory, in a file, or on Redis.

This package contains the interface (``base``), validation (``checks``), and one store per backend. It does not
interpret the stored bytes.
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
