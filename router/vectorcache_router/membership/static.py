"""Membership as a fixed list of nodes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from vectorcache.errors import Conflict, InvalidInput
from vectorcache_router.membership.base import NAME_AND_URL, Members, Membership, check_nodes


class StaticMembership(Membership):
    """A fixed list of nodes."""

    def __init__(self, nodes: Mapping[str, str]) -> None:
        self._nodes = dict(nodes)

    async def changes(self) -> AsyncGenerator[Members]:
        """Yield the list once."""
        yield Members(self._nodes)

    async def desired(self) -> int | None:
        """Return the number of nodes in the list."""
        return len(self._nodes)

    async def resize(self, count: int) -> None:
        """Raise ``Conflict``: a fixed list cannot be resized."""
        raise Conflict("this router has a fixed list of nodes; start it with --nodes-file to allow resizing")


def parse_nodes(text: str) -> dict[str, str]:
    """Parse ``node-0=http://host:port,node-1=http://host:port``. Raises ``InvalidInput``, also for an empty list."""
    nodes: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, url = part.partition("=")
        if name in nodes:
            raise InvalidInput("--nodes", name, "unique names")
        nodes[name] = url
    if not nodes:
        raise InvalidInput("--nodes", text, f"a comma-separated list of {NAME_AND_URL}")
    return dict(check_nodes(nodes, "--nodes"))
