"""A local cluster: cache nodes and a router as supervised processes on the loopback interface.

The router reads the list of nodes from the file ``nodes.json``, which this module writes. It writes the number of nodes
that its callers request to ``wanted.json`` in the same directory, which this module reads.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import urlsplit

import msgspec

from vectorcache.errors import Conflict, DeadlineExceeded, InvalidInput, VectorCacheError
from vectorcache_client.client import AsyncClient
from vectorcache_tools.process import Child, Keeper, Program, Restarts, launch

MAX_NODES = 64
"""Maximum number of nodes. More processes are of no use on one machine."""

ROUTER = "router"


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """Settings of a local cluster.

    Attributes:
        blobs: URL of the blob store.
        data: directory for disk layers, logs, ``nodes.json`` and ``wanted.json``; used by one cluster at a time.
        nodes: initial number of nodes, 1 to ``MAX_NODES``.
        memory: capacity of each node's memory layer, such as "256Mi".
        disk: capacity of each node's disk layer.
        port: port of the router; 0 picks a free port.
        replication: number of nodes that own each slot of the ring.
        shard: size of a shard, a group of chunks placed on the same node; half of ``memory`` works best.
    """

    blobs: str
    data: Path
    nodes: int = 3
    memory: str = "256Mi"
    disk: str = "2560Mi"
    port: int = 0
    replication: int = 1
    shard: str = "128Mi"

    def __post_init__(self) -> None:
        check_count(self.nodes, "nodes")


@dataclass(frozen=True, slots=True)
class Patience:
    """Timeouts and intervals in seconds.

    Attributes:
        start: maximum time until a process is ready.
        leave: time for routers to remove a node before it is terminated.
        stop: time for a process to end before it is killed.
        poll: interval between reads of ``wanted.json``, and between readiness checks of a starting process.
    """

    start: float = 30.0
    leave: float = 1.0
    stop: float = 15.0
    poll: float = 0.1


class Commands:
    """The command lines of the servers."""

    def node(self, settings: LocalSettings, name: str) -> Sequence[str]:
        """Return the command of a node, which listens on a free port."""
        flags = {
            "name": name,
            "listen": "127.0.0.1:0",
            "blob-url": settings.blobs,
            "data": str(settings.data / name),
            "memory": settings.memory,
            "disk": settings.disk,
        }
        return _python("vectorcache_node", flags)

    def router(self, settings: LocalSettings, nodes_file: Path, port: int) -> Sequence[str]:
        """Return the command of the router."""
        flags = {
            "listen": f"127.0.0.1:{port}",
            "blob-url": settings.blobs,
            "nodes-file": str(nodes_file),
            "replication": str(settings.replication),
            "shard-bytes": settings.shard,
        }
        return _python("vectorcache_router", flags)


class LocalCluster:
    """A local cluster of nodes ``node-0``, ``node-1``, ... and a router, which runs during ``async with``.

    Processes that end are restarted. A new node is ready before it is added to the router, and a node that leaves is
    removed from the router before it is terminated. On Linux, all processes end when this process ends, even if it is
    killed, or when the thread that opened the cluster ends.

    Args:
        settings: settings of the cluster.
        environment: environment of the processes, with the credentials of the blob store.
        commands: command lines of the servers.
        patience: timeouts and intervals.
        restarts: delays before restarts.
    """

    def __init__(
        self,
        settings: LocalSettings,
        environment: Mapping[str, str],
        *,
        commands: Commands | None = None,
        patience: Patience | None = None,
        restarts: Restarts | None = None,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._commands = commands or Commands()
        self._patience = patience or Patience()
        self._restarts = restarts or Restarts()
        self._keepers: dict[str, Keeper] = {}
        self._members: tuple[str, ...] = ()
        self._resizing = asyncio.Lock()
        self._port = settings.port
        self._following: asyncio.Task[None] | None = None
        self._lock: IO[bytes] | None = None
        self.exit_codes: dict[str, int] = {}

    @property
    def router_url(self) -> str:
        """Base URL of the router."""
        return self._keepers[ROUTER].child.url

    @property
    def nodes(self) -> dict[str, str]:
        """The nodes in ``nodes.json``: name to URL."""
        return {name: self._keepers[name].child.url for name in self._members}

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the nodes and the router, by name."""
        return {name: keeper.child.pid for name, keeper in self._keepers.items()}

    @property
    def restarted(self) -> dict[str, int]:
        """Number of restarts of each process, by name."""
        return {name: keeper.restarted for name, keeper in self._keepers.items()}

    async def start(self) -> None:
        """Start the nodes and the router, and return when the router is ready.

        Raises:
            Conflict: another cluster uses the data directory.
            Unavailable: a process did not start. All processes are then stopped.
        """
        self._settings.data.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._settings.data / "lock")
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self.stop)
            await self.scale(self._settings.nodes)
            await self._run(ROUTER)
            self._following = asyncio.create_task(self._follow())
            undo.pop_all()

    async def scale(self, count: int) -> None:
        """Change the number of nodes, and return when it is done. The router applies the change shortly afterwards.

        Raises:
            InvalidInput: the count is not in the range 1 to ``MAX_NODES``.
            Unavailable: a node did not start. The existing nodes remain.
        """
        check_count(count, "count")
        _write(self._wanted_file, {"count": count})
        async with self._resizing:
            await self._resize(count)

    def kill(self, name: str) -> None:
        """Kill a process to simulate a crash. It is restarted."""
        self._keepers[name].child.kill()

    async def stop(self) -> None:
        """Stop the router and then the nodes, and store their ``exit_codes``. A second call does nothing."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        if ROUTER in self._keepers:
            await self._end(ROUTER)
        await asyncio.gather(*(self._end(name) for name in tuple(self._keepers)))
        self._members = ()
        if self._lock is not None:
            self._lock.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def _nodes_file(self) -> Path:
        return self._settings.data / "nodes.json"

    @property
    def _wanted_file(self) -> Path:
        return self._settings.data / "wanted.json"

    async def _follow(self) -> None:
        """Apply the count in ``wanted.json`` until cancelled. Failures are retried."""
        while True:
            await asyncio.sleep(self._patience.poll)
            async with self._resizing:
                wanted = read_wanted(self._wanted_file)
                if wanted is None or wanted == len(self._members):
                    continue
                try:
                    await self._resize(wanted)
                except VectorCacheError:
                    await asyncio.sleep(self._restarts.max_wait)  # the cause is in the node's log

    async def _resize(self, count: int) -> None:
        wanted = tuple(f"node-{number}" for number in range(count))
        new = [name for name in wanted if name not in self._keepers]
        for result in await asyncio.gather(*(self._run(name) for name in new), return_exceptions=True):
            if result is not None:
                raise result
        removed = [name for name in self._members if name not in wanted]
        self._members = wanted
        self._write_nodes()
        if removed:
            await asyncio.sleep(self._patience.leave)
            await asyncio.gather(*(self._end(name) for name in removed))

    async def _run(self, name: str) -> None:
        keeper = Keeper(lambda: self._start(name), self._write_nodes, self._restarts)
        await keeper.start()
        self._keepers[name] = keeper

    async def _end(self, name: str) -> None:
        self.exit_codes[name] = await self._keepers[name].stop(self._patience.stop)
        self._keepers.pop(name, None)

    async def _start(self, name: str) -> Child:
        """Start a process and return it when it is ready."""
        command = self._router_command() if name == ROUTER else self._commands.node(self._settings, name)
        log = self._settings.data / f"{name}.log"
        child = await launch(Program(name, command, self._environment, log), self._patience.start)
        try:
            await self._ready(name, child)
        except BaseException:
            await child.stop(0)
            raise
        if name == ROUTER:
            self._port = (
                urlsplit(child.url).port or self._port
            )  # keep the port across restarts, because callers use it
        return child

    def _router_command(self) -> Sequence[str]:
        return self._commands.router(self._settings, self._nodes_file, self._port)

    async def _ready(self, name: str, child: Child) -> None:
        try:
            async with asyncio.timeout(self._patience.start), AsyncClient(child.url) as client:
                while not await client.ready():
                    child.check_running()
                    await asyncio.sleep(self._patience.poll)
        except TimeoutError as error:
            raise DeadlineExceeded(f"{name} was not ready within {self._patience.start:g} s") from error

    def _write_nodes(self) -> None:
        _write(self._nodes_file, {"nodes": self.nodes})


def check_count(count: int, field: str) -> None:
    """Raise ``InvalidInput`` if the count is not in the range 1 to ``MAX_NODES``."""
    if not 1 <= count <= MAX_NODES:
        raise InvalidInput(field, count, f"a whole number from 1 to {MAX_NODES}")


def _python(module: str, flags: Mapping[str, str]) -> list[str]:
    # A log line per request would cost more than the request itself.
    pairs = {**flags, "log-level": "warning"}
    return [
        sys.executable,
        "-m",
        module,
        *(part for flag, value in pairs.items() for part in (f"--{flag}", value)),
    ]


def _locked(path: Path) -> IO[bytes]:
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise Conflict(f"another cluster uses the directory {path.parent}") from error
    return file


def _write(path: Path, value: object) -> None:
    """Replace a file atomically: readers see either the old or the new content."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(msgspec.json.encode(value))
    temporary.replace(path)


def read_wanted(path: Path) -> int | None:
    """Return the requested number of nodes, limited to 1 to ``MAX_NODES``. None if the file is missing or invalid."""
    try:
        count = int(msgspec.json.decode(path.read_bytes(), type=dict[str, int])["count"])
    except (OSError, KeyError, msgspec.MsgspecError):
        return None
    return min(max(count, 1), MAX_NODES)
