"""The nodes to ask last: those that failed recently, and those that are not ready according to the membership."""

from __future__ import annotations

from vectorcache.routing.health import NodeHealth


class ClusterHealth(NodeHealth):
    """Node health that includes the nodes in ``away``, so that searches do not have to wait for them to fail."""

    away: frozenset[str] = frozenset()

    def suspects(self) -> frozenset[str]:
        """Return the names of nodes that failed recently, and of those in ``away``."""
        return super().suspects() | self.away if self.away else super().suspects()
