"""Which node searches what: the hash ring, nodes, and searches spread over them.

What lives here: ``HashRing``, the ``SearchNode`` and ``Router`` interfaces, nodes in this process, scatter and
gather. What never does: HTTP, processes, Kubernetes; those bring nodes that implement ``SearchNode``.
"""

from vectorcache.routing.health import NodeHealth
from vectorcache.routing.node import LocalNode, SearchNode
from vectorcache.routing.ring import HashRing
from vectorcache.routing.router import RingRouter, Router
from vectorcache.routing.scatter import ScatterSearch

__all__ = ["HashRing", "LocalNode", "NodeHealth", "RingRouter", "Router", "ScatterSearch", "SearchNode"]
