"""Vectors in memory: metrics, exact search, top-k, codes, and the kernels in C.

Nothing here knows a file, a cache or a collection.
"""
