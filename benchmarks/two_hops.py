"""The floor of a search over HTTP: an empty router that calls an empty node. Both are processes that do nothing else.

``python -m benchmarks.two_hops node PORT`` answers each request with so many bytes as a search of ten neighbours;
``router PORT NODE_PORT`` passes each request on, and the answer back.
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
    """Ten neighbours, as far as bytes go."""
    return web.Response(body=ANSWER)


def router(node_port: int) -> web.Application:
    """Passes requests on to a node."""
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
    """Listen until the process ends."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


@asynccontextmanager
async def two_hops(port: int) -> AsyncIterator[str]:
    """Run both; gives the router's URL."""
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
    """Be one of the two."""
    role, port, *others = sys.argv[1:]
    application = web.Application()
    if role == "node":
        application.router.add_post("/", node)
    else:
        application = router(int(others[0]))
    uvloop.run(serve(application, int(port)))


if __name__ == "__main__":
    main()
