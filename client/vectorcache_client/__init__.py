"""VectorCache: client."""
