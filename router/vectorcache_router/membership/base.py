"""The interface of a membership, and the validation of node names and URLs."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple

from yarl import URL

from vectorcache.errors import InvalidInput

NAME_AND_URL = "name=http://host:port, with a name of at most 253 characters A-Z a-z 0-9 . _ -"

_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")


class Members(NamedTuple):
    """The nodes on the ring.

    Attributes:
        urls: name to base URL.
        away: the subset that is not ready but keeps its place on the ring; these nodes are asked last.
    """

    urls: Mapping[str, str]
    away: frozenset[str] = frozenset()


class Membership(ABC):
    """The nodes of a cache, as known by one router."""

    @abstractmethod
    def changes(self) -> AsyncGenerator[Members]:
        """Yield the nodes as soon as they are known, and again after every change, until it is closed."""

    @abstractmethod
    async def desired(self) -> int | None:
        """Return the desired number of nodes, or None if it is not known."""

    @abstractmethod
    async def resize(self, count: int) -> None:
        """Set the desired number of nodes. Nodes start and stop asynchronously.

        Raises:
            Conflict: this membership cannot be resized, or not at this time.
            InvalidInput: this number of nodes is not allowed.
            Unavailable: the request could not be forwarded.
        """

    def warnings(self) -> list[str]:
        """Return current problems with following the nodes. The last known nodes remain in use."""
        return []


def check_nodes(nodes: Mapping[str, str], field: str = "nodes") -> Mapping[str, str]:
    """Return the nodes if all their names and URLs are valid; otherwise raise ``InvalidInput``."""
    for name, url in nodes.items():
        if not (_NAME.fullmatch(name) and _is_base(url)):
            raise InvalidInput(field, f"{name}={url}", NAME_AND_URL)
    return nodes


def _is_base(text: str) -> bool:
    try:
        url = URL(text)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.host) and not url.query_string and not url.fragment
