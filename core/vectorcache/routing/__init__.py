"""Which node searches what: the hash ring, nodes, and searches spread over them.

What lives here: ``HashRing``, the ``SearchNode`` and ``Router`` interfaces, nodes in this process, scatter and
gather. What never does: HTTP, processes, Kubernetes; those bring nodes that implement ``SearchNode``.
"""
