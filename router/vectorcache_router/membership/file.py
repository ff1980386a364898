"""Membership from a file that another program rewrites."""

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
    """The content of a nodes file: node names and base URLs."""

    nodes: dict[str, str]


class WantedFile(msgspec.Struct, frozen=True):
    """The content of the file ``wanted.json``: the desired number of nodes."""

    count: int


class FileMembership(Membership):
    """The nodes in a JSON file that another program rewrites: ``{"nodes": {"node-0": "http://host:port"}}``.

    The desired number of nodes is written to the file ``wanted.json`` in the same directory: ``{"count": 4}``. The
    program that runs the nodes reads it, starts or stops nodes, and rewrites the nodes file. If the nodes file is
    missing or invalid, the last known nodes remain in use.
    """

    def __init__(self, path: Path, poll_seconds: float = POLL_SECONDS) -> None:
        self._path = path
        self._wanted = path.with_name("wanted.json")
        self._poll_seconds = poll_seconds
        self._problem = ""
        self._log = structlog.get_logger().bind(path=str(path))

    async def changes(self) -> AsyncGenerator[Members]:
        """Yield the nodes of the file, and again after every change."""
        known: Mapping[str, str] | None = None
        while True:
            nodes = await asyncio.to_thread(self._read)
            if nodes is not None and nodes != known:
                known = nodes
                yield Members(nodes)
            await asyncio.sleep(self._poll_seconds)

    async def desired(self) -> int | None:
        """Return the last requested number of nodes."""
        return await asyncio.to_thread(self._read_wanted)

    async def resize(self, count: int) -> None:
        """Write the desired number of nodes."""
        try:
            await asyncio.to_thread(_write_whole, self._wanted, msgspec.json.encode(WantedFile(count)))
        except OSError as error:
            raise Unavailable(f"{self._wanted} cannot be written: {error}") from error

    def warnings(self) -> list[str]:
        """Return a warning with the cause if the file is invalid or cannot be read."""
        return [f"the nodes file cannot be used: {self._problem}"] if self._problem else []

    def _read(self) -> Mapping[str, str] | None:
        nodes, problem = None, ""
        try:
            nodes = check_nodes(msgspec.json.decode(self._path.read_bytes(), type=NodesFile).nodes)
        except FileNotFoundError:
            pass  # not written yet
        except (OSError, UnicodeDecodeError, RecursionError, msgspec.MsgspecError, InvalidInput) as error:
            problem = str(error)
        if problem and problem != self._problem:  # log each problem once, not on every poll
            self._log.warning("nodes file cannot be used", error=problem)
        self._problem = problem
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
