"""Similarity search in this process: tables, ANN indexes, and memory limits."""
