"""The Kubernetes operator: keeps what a VectorCache resource asks for."""
