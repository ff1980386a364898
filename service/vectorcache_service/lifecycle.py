"""A server's life: it listens, it drains when it is told to end, it ends with exit code 0."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any

import structlog
import uvloop
from aiohttp import web

from vectorcache.errors import VectorCacheError
from vectorcache_service.probes import READINESS
from vectorcache_service.stream import STREAM

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(
    app: web.Application, host: str, port: int, *, drain_delay: float = 0.0, shutdown_timeout: float = 30.0
) -> None:
    """Run an application on uvloop until SIGTERM or SIGINT; returns when all is closed.

    Port 0 takes a free one. Standard output gets one line, ``listening on http://host:port``.
    After the signal /readyz is 503; ``drain_delay`` seconds later, time for others to notice, no more
    connections are accepted; requests that run have ``shutdown_timeout`` seconds to finish before they are
    cancelled, and as long again to clean up. A second signal ends the process at once.
    """
    uvloop.run(run(app, host, port, drain_delay=drain_delay, shutdown_timeout=shutdown_timeout))


def run_main(main: Coroutine[Any, Any, None]) -> int:
    """Run a server's whole life, of which ``run`` is a part, on uvloop; return the exit code.

    An error raised on purpose (a blob store without credentials, say) is one line of the log and code 1;
    any other keeps its trace.
    """
    try:
        uvloop.run(main)
    except (VectorCacheError, OSError) as error:
        structlog.get_logger().error("cannot run", error=str(error), type=type(error).__name__)
        return 1
    return 0


async def run(
    app: web.Application, host: str, port: int, *, drain_delay: float = 0.0, shutdown_timeout: float = 30.0
) -> None:
    """What ``serve`` does, on the running event loop."""
    log = structlog.get_logger()
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,  # nobody waits for the answer of a caller that hung up
        shutdown_timeout=shutdown_timeout,
    )
    await runner.setup()
    try:
        stop = _stop_on_signal()
        site = web.TCPSite(runner, host, port)
        await site.start()
        log.info("listening", url=site.name)
        sys.stdout.write(f"listening on {site.name}\n")
        sys.stdout.flush()
        await stop.wait()
        log.info("shutting down", drain_delay=drain_delay, shutdown_timeout=shutdown_timeout)
        delay = drain_delay if await app[READINESS].sought() else 0.0
        app[READINESS].drain()
        await asyncio.sleep(delay)
        if STREAM in app:
            await app[STREAM].drain(shutdown_timeout)
    finally:
        await runner.cleanup()
    log.info("closed")


def _stop_on_signal() -> asyncio.Event:
    """An event that the first signal sets; the second one has its default effect."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def on_signal() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
        stop.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal)
    return stop
