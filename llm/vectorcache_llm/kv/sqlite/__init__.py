"""The store on disk: one SQLite file, which processes of one machine may share.

This package contains the file and its format (``file``), the SQL statements (``table``), and the store (``store``).
"""

from vectorcache_llm.kv.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
