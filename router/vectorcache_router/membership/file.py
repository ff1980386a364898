"""Nodes from a file that another program rewrites."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import msgspec
import structlog

from vectorcache.errors import InvalidInput, Unavailable
from vectorcache.stores.filesystem import temporary_beside, written
from vectorcache_router.membership.base import Members, Membership, check_nodes

POLL_SECONDS = 0.2


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

    async def changes(self) -> AsyncGenerator[Members]:
        """The file's nodes, again after each change."""
        known: Mapping[str, str] | None = None
        while True:
            nodes = await asyncio.to_thread(self._read)
            if nodes is not None and nodes != known:
                known = nodes
                yield Members(nodes)
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

    def warnings(self) -> list[str]:
        """That the file cannot be used, and why."""
        return [f"the nodes file cannot be used: {self._complaint}"] if self._complaint else []

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


def _write_whole(path: Path, data: bytes) -> None:
    temporary = temporary_beside(path)
    with written(temporary, data):
        temporary.replace(path)
