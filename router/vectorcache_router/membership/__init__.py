"""Which nodes there are: a small interface, and three ways to know.

A membership hands out the present nodes, tells when they change, and can be asked for another number of nodes.
``KubernetesMembership`` is not handed on here: it needs a client library that the others do without.
"""

from vectorcache_router.membership.base import Members, Membership, check_nodes
from vectorcache_router.membership.file import FileMembership
from vectorcache_router.membership.static import StaticMembership, parse_nodes

__all__ = ["FileMembership", "Members", "Membership", "StaticMembership", "check_nodes", "parse_nodes"]
