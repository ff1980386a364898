"""Similarity search in this process: tables, ann_indexes and the bounds around them."""
