from __future__ import annotations

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientConnectorError, ClientSession, TCPConnector
from structlog.testing import capture_logs
from tests.support.service.app import Api

from vectorcache.errors import VectorCacheError
from vectorcache_service import run, run_main

DEADLINE = 20.0


@asynccontextmanager
async def served(drain_delay: float, shutdown_timeout: float) -> AsyncIterator[tuple[Process, str]]:
    """The process of tests/support/service/served.py, and its URL once it listens."""
    arguments = ("-m", "tests.support.service.served", str(drain_delay), str(shutdown_timeout))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        line = await said(process)
        assert line.startswith("listening on http://127.0.0.1:")
        yield process, line.removeprefix("listening on ")
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def said(process: Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), DEADLINE)).decode().strip()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await condition():  # noqa: ASYNC110 - another process cannot set our event
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_lets_requests_finish_and_ends_with_zero(number: signal.Signals) -> None:
    async with served(0.5, 10) as (process, url), ClientSession() as session:
        held = asyncio.create_task(session.get(f"{url}/v1/hold"))
        assert await said(process) == "holding"
        assert (await session.get(f"{url}/readyz")).status == 200
        process.send_signal(number)

        async def draining() -> bool:
            return (await session.get(f"{url}/readyz")).status == 503

        await until(draining)
        assert (await session.get(f"{url}/healthz")).status == 200
        await until(lambda: refused(url))
        assert not held.done()
        assert process.stdin is not None
        process.stdin.write(b"go on\n")
        assert (await asyncio.wait_for(held, DEADLINE)).status == 200
        assert await asyncio.wait_for(process.wait(), DEADLINE) == 0
        assert process.stderr is not None
        assert b"closed" in await process.stderr.read()


async def refused(url: str) -> bool:
    """Whether a new connection is not accepted."""
    async with ClientSession(connector=TCPConnector(force_close=True)) as session:
        try:
            async with session.get(f"{url}/healthz"):
                return False
        except ClientConnectorError:
            return True


async def test_a_second_signal_ends_the_process_at_once() -> None:
    async with served(60, 60) as (process, url), ClientSession() as session:
        process.terminate()

        async def draining() -> bool:
            return (await session.get(f"{url}/readyz")).status == 503

        await until(draining)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), DEADLINE) == -signal.SIGTERM


async def test_an_idle_server_ends_at_once_even_with_open_connections() -> None:
    async with served(0, 60) as (process, url), ClientSession() as session:
        assert (await session.get(f"{url}/healthz")).status == 200
        process.terminate()
        assert await asyncio.wait_for(process.wait(), DEADLINE) == 0


def test_a_failed_start_is_logged_as_one_line_with_exit_code_one() -> None:
    async def main() -> None:
        raise VectorCacheError("no credentials")

    with capture_logs() as logs:
        assert run_main(main()) == 1
    assert [(line["event"], line["error"]) for line in logs] == [("server failed", "no credentials")]


def test_a_port_that_is_taken_is_an_error_not_a_hang() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, capture_logs() as logs:
        assert run_main(run(Api().app(), "127.0.0.1", taken.getsockname()[1])) == 1
    assert logs[-1]["type"] == "OSError"


def test_an_unforeseen_error_keeps_its_trace() -> None:
    async def main() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        run_main(main())
