"""The index on a Qdrant server.

What lives here: calls within a deadline (``link``), entries as points (``points``), and the index (``index``).
``qdrant_client`` itself is imported when an index is made.
"""

from vectorcache_llm.similarity.qdrant.index import QdrantIndex

__all__ = ["QdrantIndex"]
