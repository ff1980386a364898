"""Which nodes there are: a small interface, and two ways to know.

A membership hands out the present nodes, tells when they change, and can be asked for another number of nodes.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec
import structlog

from vectorcache.errors import Conflict, InvalidInput

POLL_SECONDS = 0.2


class Membership(ABC):
    """The nodes of a cache, as one router knows them."""

    @abstractmethod
    def changes(self) -> AsyncIterator[Mapping[str, str]]:
        """The nodes, name to base URL: at once, and again whenever they change, until it is closed."""

    @abstractmethod
    async def desired(self) -> int | None:
        """How many nodes there should be, or None where nobody said."""

    @abstractmethod
    async def resize(self, count: int) -> None:
        """Ask for another number of nodes; they come or go in their own time.

        Raises:
            Conflict: this membership cannot be resized.
        """


class StaticMembership(Membership):
    """A list of nodes that never changes."""

    def __init__(self, nodes: Mapping[str, str]) -> None:
        self._nodes = dict(nodes)

    async def changes(self) -> AsyncIterator[Mapping[str, str]]:
        """The list, once."""
        yield self._nodes

    async def desired(self) -> int | None:
        """As many as there are."""
        return len(self._nodes)

    async def resize(self, count: int) -> None:
        """Not possible."""
        raise Conflict("the nodes of this router are a fixed list; start it with --nodes-file to resize")


class NodesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a nodes file holds: name to base URL."""

    nodes: dict[str, str]


class WantedFile(msgspec.Struct, frozen=True):
    """What the file beside it holds: how many nodes a caller asked for."""

    count: int


class FileMembership(Membership):
    """A JSON file that another program rewrites: ``{"nodes": {"node-0": "http://host:port"}}``.

    A wish for another number of nodes is written to a file beside it, ``wanted.json``: ``{"count": 4}``. Whoever
    runs the nodes reads it, starts or stops some, and rewrites the nodes file. A file that is missing or does
    not decode changes nothing: the router goes on with the nodes that it knows.
    """

    def __init__(self, path: Path, poll_seconds: float = POLL_SECONDS) -> None:
        self._path = path
        self._wanted = path.with_name("wanted.json")
        self._poll_seconds = poll_seconds
        self._log = structlog.get_logger().bind(path=str(path))

    async def changes(self) -> AsyncIterator[Mapping[str, str]]:
        """The file's nodes, again after each change."""
        known: Mapping[str, str] | None = None
        while True:
            nodes = await asyncio.to_thread(self._read)
            if nodes is not None and nodes != known:
                known = nodes
                yield nodes
            await asyncio.sleep(self._poll_seconds)

    async def desired(self) -> int | None:
        """What was asked for last."""
        return await asyncio.to_thread(self._read_wanted)

    async def resize(self, count: int) -> None:
        """Write the wish."""
        await asyncio.to_thread(_write_whole, self._wanted, msgspec.json.encode(WantedFile(count)))

    def _read(self) -> Mapping[str, str] | None:
        try:
            nodes = msgspec.json.decode(self._path.read_bytes(), type=NodesFile).nodes
            return check_nodes(nodes)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, InvalidInput) as error:
            self._log.warning("nodes file cannot be used", error=str(error))
            return None

    def _read_wanted(self) -> int | None:
        try:
            return msgspec.json.decode(self._wanted.read_bytes(), type=WantedFile).count
        except (OSError, msgspec.MsgspecError):
            return None


def parse_nodes(text: str) -> dict[str, str]:
    """Nodes from ``node-0=http://host:port,node-1=http://host:port``."""
    nodes: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, url = part.partition("=")
        if name in nodes:
            raise InvalidInput("--nodes", name, "each name once")
        nodes[name] = url
    return dict(check_nodes(nodes))


def check_nodes(nodes: Mapping[str, str]) -> Mapping[str, str]:
    """Return the nodes, or raise ``InvalidInput``."""
    for name, url in nodes.items():
        if not name or not url.startswith(("http://", "https://")):
            raise InvalidInput("nodes", f"{name}={url}", "name=http://host:port, separated by commas")
    return nodes


def _write_whole(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)
