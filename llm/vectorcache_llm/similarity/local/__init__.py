"""Similarity search in this process: tables, finders and the bounds around them."""
