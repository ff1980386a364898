"""One server as a child process, and what keeps it running."""

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
    """What to run: the command, its environment, and the file that its standard error is added to."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path


class Child:
    """A running server that has said where it listens. Made by ``launch``."""

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
        """Wait for its end; returns the exit code, or minus the signal that ended it."""
        return await asyncio.shield(self._ended)

    def check_running(self) -> None:
        """Raise ``Unavailable`` where it has ended; quotes the end of its log."""
        if self._process.returncode is not None:
            raise _ended(self._program, self._process.returncode)

    def kill(self) -> None:
        """End it at once, without a chance to clean up."""
        if self._process.returncode is None:
            self._process.kill()

    async def stop(self, seconds: float) -> int:
        """Ask it to end, and kill it where it has not after so many seconds; returns the exit code."""
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
            pass  # nobody needs it, but a full pipe would stop the process
        return await self._process.wait()


async def launch(program: Program, seconds: float) -> Child:
    """Start a server and wait until it prints ``listening on URL``.

    The process is in a session of its own, so that Ctrl-C reaches its parent only, and ends with its parent.

    Raises:
        Unavailable: it could not be started, or ended; quotes the end of its log.
        DeadlineExceeded: it did not listen within so many seconds; it was killed.
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
    """The URL that it says it listens on; None where it ends before."""
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
    """How long to wait before a restart, in seconds: longer after each, up to a bound.

    Attributes:
        first_wait: before the first restart.
        max_wait: no wait is longer.
        healthy_after: a process that ran as long as this begins anew.
    """

    first_wait: float = 0.1
    max_wait: float = 5.0
    healthy_after: float = 10.0

    def wait(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row, at least 1."""
        return min(self.max_wait, self.first_wait * 2.0 ** min(failures - 1, 30))


class Keeper:
    """Keeps one server running: starts it again whenever it ends.

    Args:
        start: starts the server, and returns when it listens.
        changed: is called after each restart, when the server's URL may be another one.
        restarts: how long to wait before a restart.
        clock: seconds, to tell how long a process ran.
        sleep: waits for so many seconds.
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
        """The process that was started last."""
        assert self._child is not None, "not started"
        return self._child

    async def start(self) -> None:
        """Start the server for the first time; raises what that raises, and then keeps nothing running."""
        self._child = await self._start()
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self, seconds: float) -> int:
        """End the server for good, see ``Child.stop``."""
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
            return False  # its log says why
        self.restarted += 1
        self._changed()
        return True
