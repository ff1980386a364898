"""The interface of a membership, and what a node must look like."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple

from yarl import URL

from vectorcache.errors import InvalidInput

NAME_AND_URL = "name=http://host:port, the name of at most 253 of A-Z a-z 0-9 . _ -"

_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")


class Members(NamedTuple):
    """The nodes on the ring.

    Attributes:
        urls: name to base URL.
        away: those of them that do not answer now and are expected back; they are asked last.
    """

    urls: Mapping[str, str]
    away: frozenset[str] = frozenset()


class Membership(ABC):
    """The nodes of a cache, as one router knows them."""

    @abstractmethod
    def changes(self) -> AsyncGenerator[Members]:
        """The nodes: as soon as they are known, and again whenever they change, until it is closed."""

    @abstractmethod
    async def desired(self) -> int | None:
        """How many nodes there should be, or None where nobody said."""

    @abstractmethod
    async def resize(self, count: int) -> None:
        """Ask for another number of nodes; they come or go in their own time.

        Raises:
            Conflict: this membership cannot be resized, or not now.
            InvalidInput: not to this number.
            Unavailable: the wish could not be passed on.
        """

    def warnings(self) -> list[str]:
        """What is wrong now with knowing the nodes, in words; the last nodes known go on being used."""
        return []


def check_nodes(nodes: Mapping[str, str], field: str = "nodes") -> Mapping[str, str]:
    """Return the nodes, or raise ``InvalidInput``: what passes can go on a ring and be connected to."""
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
