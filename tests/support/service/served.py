"""A server in a process of its own, for tests of its life: it reads one line of input to end /v1/hold."""

from __future__ import annotations

import asyncio
import sys

from tests.support.service.app import Empty

from vectorcache_service import Route, make_app, serve
from vectorcache_service.logs import configure


async def hold() -> Empty:
    sys.stdout.write("holding\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    return Empty()


def main(drain_delay: str, shutdown_timeout: str) -> None:
    configure()
    app = make_app(
        "held",
        "1",
        [Route(method="GET", path="/v1/hold", handler=hold, summary="Hold", response=Empty)],
    )
    serve(app, "127.0.0.1", 0, drain_delay=float(drain_delay), shutdown_timeout=float(shutdown_timeout))


if __name__ == "__main__":
    main(*sys.argv[1:])
