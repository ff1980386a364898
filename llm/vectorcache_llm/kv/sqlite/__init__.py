"""The store on disk: one SQLite file, which processes of one machine may share.

What lives here: the file and its format (``file``), its statements (``table``), and the store over both (``store``).
"""

from vectorcache_llm.kv.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
