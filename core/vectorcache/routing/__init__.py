"""Routing: the hash ring, the placement of chunks on nodes, and searches that are spread over nodes.

This package holds ``HashRing``, the ``Router`` interface, routing over nodes in this process, batching, and scatter
and gather. It does not contain HTTP, processes or Kubernetes: other packages implement ``SearchNode`` for these.
"""
