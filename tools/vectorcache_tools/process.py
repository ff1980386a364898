"""A server as a child process, and its supervision."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vectorcache.errors import DeadlineExceeded, Unavailable, VectorCacheError
from vectorcache_tools import child

_LISTENS = re.compile(rb"listening on (https?://\S+)")
_LOG_END = 400  # characters of a log that an error quotes


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run: its command, its environment, and the log file to which its standard error is appended."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path


class Child:
    """A running server that listens on ``url``. Created by ``launch``."""

    def __init__(self, program: Program, process: asyncio.subprocess.Process, url: str) -> None:
        self._program = program
        self._process = process
        self.url = url
        self._ended = asyncio.create_task(self._wait())

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait until the process ends. Return its exit code, or minus the number of the signal that ended it."""
        return await asyncio.shield(self._ended)

    def check_running(self) -> None:
        """Raise ``Unavailable`` with the end of the log if the process has ended."""
        if self._process.returncode is not None:
            raise _ended(self._program, self._process.returncode)

    def kill(self) -> None:
        """Kill the process immediately, without cleanup."""
        if self._process.returncode is None:
            self._process.kill()

    async def stop(self, seconds: float) -> int:
        """Terminate the process, and kill it if it is still running after ``seconds``. Return its exit code."""
        if self._process.returncode is None:
            self._process.terminate()
        try:
            async with asyncio.timeout(seconds):
                return await self.wait()
        except TimeoutError:
            self.kill()
            return await self.wait()

    async def _wait(self) -> int:
        assert self._process.stdout is not None
        while await self._process.stdout.read(1 << 16):
            pass  # the output is discarded, but must be read because a full pipe would block the process
        return await self._process.wait()


async def launch(program: Program, seconds: float) -> Child:
    """Start a server and wait until it prints ``listening on URL``.

    The process runs in a new session, so that Ctrl-C reaches only the parent, and it ends when its parent ends.

    Raises:
        Unavailable: the server could not be started or ended. The message has the end of its log.
        DeadlineExceeded: the server did not listen within ``seconds`` and was killed.
    """
    try:
        process = await _spawn(program)
    except OSError as error:
        raise Unavailable(f"{program.name} could not be started: {error}") from error
    try:
        async with asyncio.timeout(seconds):
            url = await _listening(process)
            if url is None:
                raise _ended(program, await process.wait())
    except BaseException as error:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        if isinstance(error, TimeoutError):
            raise DeadlineExceeded(f"{program.name} did not listen within {seconds:g} s") from error
        raise
    return Child(program, process, url)


async def _spawn(program: Program) -> asyncio.subprocess.Process:
    wrapper = [sys.executable, "-I", child.__file__, str(os.getpid())]
    with program.log.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *wrapper,
            *program.command,
            env=dict(program.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )


async def _listening(process: asyncio.subprocess.Process) -> str | None:
    """Return the URL on which the process listens, or None if it ends before."""
    assert process.stdout is not None
    async for line in process.stdout:
        if found := _LISTENS.search(line):
            return found[1].decode()
    return None


def _ended(program: Program, code: int) -> Unavailable:
    lines = program.log.read_text(errors="replace")[-_LOG_END:].splitlines() or ["its log is empty"]
    return Unavailable(f"{program.name} ended with exit code {code}: {lines[-1]} (see {program.log})")


@dataclass(frozen=True, slots=True)
class Restarts:
    """Delays before restarts in seconds. They double with every failure, up to a maximum.

    Attributes:
        first_wait: delay before the first restart.
        max_wait: maximum delay.
        healthy_after: running time after which a process counts as healthy, which resets the delay.
    """

    first_wait: float = 0.1
    max_wait: float = 5.0
    healthy_after: float = 10.0

    def wait(self, failures: int) -> float:
        """Return the seconds to wait after ``failures`` consecutive failures, at least 1."""
        return min(self.max_wait, self.first_wait * 2.0 ** min(failures - 1, 30))


class Keeper:
    """A supervisor of one server, which restarts it whenever it ends.

    Args:
        start: starts the server, and returns when it listens.
        changed: called after each restart, because the URL of the server may have changed.
        restarts: delays before restarts.
        clock: monotonic seconds.
        sleep: sleeps for a number of seconds.
    """

    def __init__(
        self,
        start: Callable[[], Awaitable[Child]],
        changed: Callable[[], None],
        restarts: Restarts,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._start = start
        self._changed = changed
        self._restarts = restarts
        self._clock = clock
        self._sleep = sleep
        self._child: Child | None = None
        self._keeping: asyncio.Task[None] | None = None
        self.restarted = 0

    @property
    def child(self) -> Child:
        """The process started last."""
        assert self._child is not None, "not started"
        return self._child

    async def start(self) -> None:
        """Start the server for the first time. If this fails, the error is raised and no restart follows."""
        self._child = await self._start()
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self, seconds: float) -> int:
        """Stop the server permanently, see ``Child.stop``."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        return await self.child.stop(seconds)

    async def _keep(self) -> None:
        failures = 0
        while True:
            started = self._clock()
            await self.child.wait()
            failures = 1 if self._clock() - started >= self._restarts.healthy_after else failures + 1
            while not await self._restart(self._restarts.wait(failures)):
                failures += 1

    async def _restart(self, wait: float) -> bool:
        await self._sleep(wait)
        try:
            self._child = await self._start()
        except VectorCacheError:
            return False  # the cause is in the server's log
        self.restarted += 1
        self._changed()
        return True
