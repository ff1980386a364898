"""The base of the reasoning cache and chat memory: values in a key-value store, with their texts in an index."""

from vectorcache_llm.stored.cache import Found, Searchable, StoredCache

__all__ = ["Found", "Searchable", "StoredCache"]
