"""What the reasoning cache and chat memory have in common: values in a key-value store, their texts in an index."""

from vectorcache_llm.stored.cache import Found, Searchable, StoredCache

__all__ = ["Found", "Searchable", "StoredCache"]
