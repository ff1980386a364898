"""The floor of a search over HTTP: a router and a node that only forward and answer requests, as separate processes.

``python -m benchmarks.two_hops node PORT`` answers each request with as many bytes as a search for ten neighbours.
``python -m benchmarks.two_hops router PORT NODE_PORT`` forwards each request to the node.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvloop
from aiohttp import web

ANSWER = bytes(400)
LIMITS = {"limit": 0}


async def node(_: web.Request) -> web.Response:
    """Return as many bytes as a response with ten neighbours has."""
    return web.Response(body=ANSWER)


def router(node_port: int) -> web.Application:
    """Return an application that forwards requests to a node."""
    application = web.Application()

    async def session(_: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(**LIMITS)) as opened:
            application["session"] = opened
            yield

    async def forward(request: web.Request) -> web.Response:
        body = await request.read()
        async with application["session"].post(f"http://127.0.0.1:{node_port}/", data=body) as answer:
            return web.Response(body=await answer.read())

    application.cleanup_ctx.append(session)
    application.router.add_post("/", forward)
    return application


async def serve(application: web.Application, port: int) -> None:
    """Serve until the process ends."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


@asynccontextmanager
async def two_hops(port: int) -> AsyncIterator[str]:
    """Run both processes. Yields the URL of the router."""
    roles = (("node", str(port + 1)), ("router", str(port), str(port + 1)))
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.two_hops", *role)
        for role in roles
    ]
    try:
        await _until_up(f"http://127.0.0.1:{port}/")
        yield f"http://127.0.0.1:{port}/"
    finally:
        for process in processes:
            process.terminate()
            await process.wait()


async def _until_up(url: str) -> None:
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.post(url, data=b"") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


def main() -> None:
    """Run one of the two servers."""
    role, port, *others = sys.argv[1:]
    application = web.Application()
    if role == "node":
        application.router.add_post("/", node)
    else:
        application = router(int(others[0]))
    uvloop.run(serve(application, int(port)))


if __name__ == "__main__":
    main()
