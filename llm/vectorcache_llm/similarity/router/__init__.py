"""The index over a collection behind a VectorCache router.

This package contains the conversion of entries to rows (``rows``), and the read-only index (``index``).
"""

from vectorcache_llm.similarity.router.index import RouterIndex
from vectorcache_llm.similarity.router.rows import collection_table

__all__ = ["RouterIndex", "collection_table"]
