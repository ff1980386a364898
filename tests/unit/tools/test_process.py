import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from tests.support.tools import fake_server
from tests.support.waiting import until

from vectorcache.errors import DeadlineExceeded, Unavailable
from vectorcache_tools import child
from vectorcache_tools.process import Child, Keeper, Program, Restarts, launch

SERVER = [sys.executable, "-P", fake_server.__file__]


def program(folder: Path, *command: str) -> Program:
    return Program("server", command or SERVER, os.environ, folder / "server.log")


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def test_launch_returns_when_the_server_listens(tmp_path: Path) -> None:
    server = await launch(program(tmp_path), 10)
    host, port = server.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()
    await writer.wait_closed()
    assert psutil.pid_exists(server.pid)
    server.check_running()
    assert await server.stop(10) == 0
    assert not psutil.pid_exists(server.pid)


async def test_a_server_that_ends_before_it_listens_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"exit code 2: error: no memory \(see .*server\.log\)"):
        await launch(
            program(
                tmp_path, *python("import sys; sys.stderr.write('x\\nerror: no memory\\n'); sys.exit(2)")
            ),
            10,
        )


async def test_a_server_that_never_listens_is_killed(tmp_path: Path) -> None:
    code = "import os, sys, time; sys.stderr.write(str(os.getpid())); sys.stderr.flush(); time.sleep(60)"
    with pytest.raises(DeadlineExceeded, match=r"server did not listen within 0\.5 s"):
        await launch(program(tmp_path, *python(code)), 0.5)
    assert not psutil.pid_exists(int((tmp_path / "server.log").read_text()))


async def test_a_program_that_does_not_exist_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="server ended"):
        await launch(program(tmp_path, "/nowhere/at/all"), 10)


async def test_later_output_of_a_server_does_not_block_it(tmp_path: Path) -> None:
    code = "print('listening on http://x:1', flush=True); print('x' * 1_000_000, flush=True)"
    server = await launch(program(tmp_path, *python(code)), 10)
    assert await asyncio.wait_for(server.wait(), 10) == 0


async def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('listening on http://x:1', flush=True); time.sleep(60)"
    )
    server = await launch(program(tmp_path, *python(code)), 10)
    assert await server.stop(0.05) == -signal.SIGKILL
    assert await server.stop(0.05) == -signal.SIGKILL


async def test_check_running_raises_after_the_end(tmp_path: Path) -> None:
    server = await launch(program(tmp_path), 10)
    server.kill()
    await server.wait()
    with pytest.raises(Unavailable, match="exit code -9"):
        server.check_running()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
async def test_a_server_ends_when_its_parent_is_killed() -> None:
    code = (
        "import subprocess, sys, time, os\n"
        f"subprocess.Popen([sys.executable, {child.__file__!r}, str(os.getpid()), *{SERVER!r}])\n"
        "time.sleep(60)"
    )
    parent = await asyncio.create_subprocess_exec(*python(code), stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    async with asyncio.timeout(10):
        await parent.stdout.readuntil(b"listening on")
    (server,) = psutil.Process(parent.pid).children()
    parent.kill()
    await parent.communicate()
    await until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)


class Starts:
    """Starts servers for a keeper; those that are ordered to fail do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[Child] = []
        self.failures = 0
        self.changes = 0

    async def __call__(self) -> Child:
        if self.failures:
            self.failures -= 1
            raise Unavailable("no luck")
        self.children.append(await launch(program(self.folder), 10))
        return self.children[-1]

    def changed(self) -> None:
        self.changes += 1


class Naps:
    """Waits that are over at once, and are noted."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def keeper(starts: Starts, sleep: Callable[[float], Awaitable[None]], now: list[float]) -> Keeper:
    restarts = Restarts(first_wait=1, max_wait=4, healthy_after=100)
    return Keeper(starts, starts.changed, restarts, clock=lambda: now[0], sleep=sleep)


async def test_a_keeper_starts_a_server_again_when_it_ends(tmp_path: Path) -> None:
    starts, naps = Starts(tmp_path), Naps()
    kept = keeper(starts, naps, [0.0])
    await kept.start()
    for restart in (1, 2):
        kept.child.kill()
        await until(lambda restart=restart: kept.restarted == restart)
    assert kept.child is starts.children[2]
    assert starts.changes == 2
    assert await kept.stop(10) == 0
    assert len(starts.children) == 3


async def test_a_keeper_waits_longer_after_each_failure_up_to_a_bound(tmp_path: Path) -> None:
    starts, naps = Starts(tmp_path), Naps()
    kept = keeper(starts, naps, [0.0])
    await kept.start()
    starts.failures = 4
    kept.child.kill()
    await until(lambda: kept.restarted == 1)
    assert naps.seconds == [1, 2, 4, 4, 4]
    await kept.stop(10)


async def test_a_healthy_run_resets_the_delay(tmp_path: Path) -> None:
    starts, naps, now = Starts(tmp_path), Naps(), [0.0]
    kept = keeper(starts, naps, now)
    await kept.start()
    for restart, seconds in enumerate((1.0, 1.0, 100.0), 1):
        now[0] += seconds
        kept.child.kill()
        await until(lambda restart=restart: kept.restarted == restart)
    assert naps.seconds == [1, 2, 1]
    await kept.stop(10)


async def test_a_keeper_that_is_stopped_while_it_waits_starts_nothing(tmp_path: Path) -> None:
    starts, waiting = Starts(tmp_path), asyncio.Event()

    async def wait_for_ever(_seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    kept = keeper(starts, wait_for_ever, [0.0])
    await kept.start()
    kept.child.kill()
    await asyncio.wait_for(waiting.wait(), 10)
    assert await kept.stop(10) == -signal.SIGKILL
    assert len(starts.children) == 1


async def test_the_first_start_fails_as_it_fails(tmp_path: Path) -> None:
    starts = Starts(tmp_path)
    starts.failures = 1
    with pytest.raises(Unavailable, match="no luck"):
        await keeper(starts, Naps(), [0.0]).start()
