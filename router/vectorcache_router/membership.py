"""Which nodes there are: a small interface, and two ways to know.

A membership hands out the present nodes, tells when they change, and can be asked for another number of nodes.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec
import structlog
from yarl import URL

from vectorcache.errors import Conflict, InvalidInput, Unavailable
from vectorcache.stores.filesystem import temporary_beside, written

POLL_SECONDS = 0.2

_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")
_ALLOWED = "name=http://host:port, the name of at most 253 of A-Z a-z 0-9 . _ -"


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
            Unavailable: the wish could not be passed on.
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
        self._complaint = ""
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
        try:
            await asyncio.to_thread(_write_whole, self._wanted, msgspec.json.encode(WantedFile(count)))
        except OSError as error:
            raise Unavailable(f"{self._wanted} cannot be written: {error}") from error

    def _read(self) -> Mapping[str, str] | None:
        nodes, complaint = None, ""
        try:
            nodes = check_nodes(msgspec.json.decode(self._path.read_bytes(), type=NodesFile).nodes)
        except FileNotFoundError:
            pass  # not written yet
        except (OSError, UnicodeDecodeError, RecursionError, msgspec.MsgspecError, InvalidInput) as error:
            complaint = str(error)
        if complaint and complaint != self._complaint:  # once, not with every look
            self._log.warning("nodes file cannot be used", error=complaint)
        self._complaint = complaint
        return nodes

    def _read_wanted(self) -> int | None:
        try:
            return msgspec.json.decode(self._wanted.read_bytes(), type=WantedFile).count
        except (OSError, msgspec.MsgspecError):
            return None


def parse_nodes(text: str) -> dict[str, str]:
    """Nodes from ``node-0=http://host:port,node-1=http://host:port``; ``InvalidInput`` where there are none."""
    nodes: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, url = part.partition("=")
        if name in nodes:
            raise InvalidInput("--nodes", name, "each name once")
        nodes[name] = url
    if not nodes:
        raise InvalidInput("--nodes", text, f"{_ALLOWED}; separated by commas")
    return dict(check_nodes(nodes, "--nodes"))


def check_nodes(nodes: Mapping[str, str], field: str = "nodes") -> Mapping[str, str]:
    """Return the nodes, or raise ``InvalidInput``: what passes can go on a ring and be connected to."""
    for name, url in nodes.items():
        if not (_NAME.fullmatch(name) and _is_base(url)):
            raise InvalidInput(field, f"{name}={url}", _ALLOWED)
    return nodes


def _is_base(text: str) -> bool:
    try:
        url = URL(text)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.host) and not url.query_string and not url.fragment


def _write_whole(path: Path, data: bytes) -> None:
    temporary = temporary_beside(path)
    with written(temporary, data):
        temporary.replace(path)
