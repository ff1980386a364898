"""The index on a Qdrant server.

This package contains the client with deadlines (``link``), the conversion of entries to points (``points``), and the
index (``index``). ``qdrant_client`` is imported only when an index is constructed.
"""

from vectorcache_llm.similarity.qdrant.index import QdrantIndex

__all__ = ["QdrantIndex"]
