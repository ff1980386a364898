"""The index that is a collection behind a VectorCache router.

What lives here: entries as rows of a collection (``rows``), and the index, which only reads (``index``).
"""

from vectorcache_llm.similarity.router.index import RouterIndex
from vectorcache_llm.similarity.router.rows import collection_table

__all__ = ["RouterIndex", "collection_table"]
