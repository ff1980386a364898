"""Vectors in memory: metrics, exact search, top-k, codes, and the kernels in C.

This package does not depend on files, caches or collections.
"""
