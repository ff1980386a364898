"""Nodes as a fixed list."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from vectorcache.errors import Conflict, InvalidInput
from vectorcache_router.membership.base import NAME_AND_URL, Members, Membership, check_nodes


class StaticMembership(Membership):
    """A list of nodes that never changes."""

    def __init__(self, nodes: Mapping[str, str]) -> None:
        self._nodes = dict(nodes)

    async def changes(self) -> AsyncGenerator[Members]:
        """The list, once."""
        yield Members(self._nodes)

    async def desired(self) -> int | None:
        """As many as there are."""
        return len(self._nodes)

    async def resize(self, count: int) -> None:
        """Not possible."""
        raise Conflict("the nodes of this router are a fixed list; start it with --nodes-file to resize")


def parse_nodes(text: str) -> dict[str, str]:
    """Nodes from ``node-0=http://host:port,node-1=http://host:port``; ``InvalidInput`` where there are none."""
    nodes: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, url = part.partition("=")
        if name in nodes:
            raise InvalidInput("--nodes", name, "each name once")
        nodes[name] = url
    if not nodes:
        raise InvalidInput("--nodes", text, f"{NAME_AND_URL}; separated by commas")
    return dict(check_nodes(nodes, "--nodes"))
