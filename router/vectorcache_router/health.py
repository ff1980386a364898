"""Which nodes to ask last: those that failed lately, and those that the membership knows to be away."""

from __future__ import annotations

from vectorcache.routing.health import NodeHealth


class ClusterHealth(NodeHealth):
    """Node health that is told who is away, so that no search has to find out by waiting for an answer."""

    away: frozenset[str] = frozenset()

    def suspects(self) -> frozenset[str]:
        """Names of nodes whose failure still counts, and of those that are away."""
        return super().suspects() | self.away if self.away else super().suspects()
