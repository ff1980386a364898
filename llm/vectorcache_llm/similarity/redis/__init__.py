"""Similarity indexes on a Redis server, with RediSearch or with the vector sets of Redis 8."""
