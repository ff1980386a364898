"""The lifecycle of a server: it listens, drains after a signal, and exits with code 0."""

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
    """Run an application on uvloop until SIGTERM or SIGINT, and return when everything is closed.

    Port 0 picks a free port. One line, ``listening on http://host:port``, is written to standard output.

    Shutdown after the signal:
    1. /readyz returns 503, and load balancers have ``drain_delay`` seconds to notice.
    2. The server stops accepting connections.
    3. Running requests have ``shutdown_timeout`` seconds to finish. They are then cancelled, and have the same time
       again to clean up.
    A second signal ends the process immediately.
    """
    uvloop.run(run(app, host, port, drain_delay=drain_delay, shutdown_timeout=shutdown_timeout))


def run_main(main: Coroutine[Any, Any, None]) -> int:
    """Run the main coroutine of a server, which calls ``run``, on uvloop. Return the exit code.

    An expected error (for example missing credentials of the blob store) is logged as one line, and the exit code is 1.
    Other errors are raised with their traceback.
    """
    try:
        uvloop.run(main)
    except (VectorCacheError, OSError) as error:
        structlog.get_logger().error("server failed", error=str(error), type=type(error).__name__)
        return 1
    return 0


async def run(
    app: web.Application, host: str, port: int, *, drain_delay: float = 0.0, shutdown_timeout: float = 30.0
) -> None:
    """Run an application on the running event loop, see ``serve``."""
    log = structlog.get_logger()
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,  # cancels the handler when the caller disconnects
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
        delay = drain_delay if await app[READINESS].may_get_requests() else 0.0
        app[READINESS].drain()
        await asyncio.sleep(delay)
        if STREAM in app:
            await app[STREAM].drain(shutdown_timeout)
    finally:
        await runner.cleanup()
    log.info("closed")


def _stop_on_signal() -> asyncio.Event:
    """Return an event that is set by the first signal. The second signal has its default effect."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def on_signal() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
        stop.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal)
    return stop
