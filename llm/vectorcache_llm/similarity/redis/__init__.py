"""Similarity indexes on a Redis server: by RediSearch, and by the vector sets of Redis 8."""
