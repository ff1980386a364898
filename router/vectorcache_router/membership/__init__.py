"""The membership of cache nodes: an interface and three implementations.

A membership provides the current nodes and their changes, and can be asked to resize the cluster.
``KubernetesMembership`` is not exported here, because it needs a client library that the others do not need.
"""

from vectorcache_router.membership.base import Members, Membership, check_nodes
from vectorcache_router.membership.file import FileMembership
from vectorcache_router.membership.static import StaticMembership, parse_nodes

__all__ = ["FileMembership", "Members", "Membership", "StaticMembership", "check_nodes", "parse_nodes"]
