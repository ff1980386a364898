"""Qdrant's engine as a server beside the tests: a process of its own, on a free port of loopback.

The engine is Qdrant's (``qdrant-edge-py``): its segments, graphs, payload indexes, filters and write-ahead log. The
HTTP face before it is ours. It speaks the part of Qdrant's REST API that the similarity index uses, with Qdrant's
answers and errors, and refuses all else: a field, filter or parameter that it does not know is an error 400, never
passed over. What it cannot show is what Qdrant's own face adds: gRPC, API keys, clusters, searches side by side, and
writes and graphs that are made after their answer.

A collection is a shard in a folder. Writes come to the log before they are answered, so a server that is killed and
started again has all of them. The package is there for tests only; it is not shipped with VectorCache.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import os
import select
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
from aiohttp import web
from tests.support.llm.qdrant_engine import PACKAGE, Collections
from tests.support.llm.qdrant_messages import (
    Count,
    CreateCollection,
    CreateIndex,
    Delete,
    Message,
    Query,
    Refused,
    Retrieve,
    Scroll,
    Upsert,
    wrong,
)

START_SECONDS = 20.0
ROOT = Path(__file__).parents[3]


@dataclass(slots=True)
class QdrantServer:
    """One that runs. It can be killed, frozen and started again on the same port, with what it had."""

    folder: Path
    options: tuple[str, ...]
    process: subprocess.Popen[bytes]
    url: str

    def kill(self) -> None:
        """End it without notice; a frozen one too."""
        self.process.kill()
        self.process.communicate(timeout=START_SECONDS)

    def freeze(self) -> None:
        """It accepts connections, and answers none."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self.process.send_signal(signal.SIGCONT)

    def start(self) -> None:
        """After ``kill``: on the same port, over the same folder."""
        port = self.url.rpartition(":")[2]
        self.process, self.url = _start(self.folder, *self.options, "--port", port)


@contextmanager
def qdrant_server(folder: Path, graph_kb: int | None = None) -> Iterator[QdrantServer]:
    """Run one; a test without the package is skipped with a reason, and fails in CI.

    Args:
        folder: where its collections are.
        graph_kb: kilobytes of vectors above which it makes a graph and searches by it; Qdrant's 10 000 if not given.
    """
    _needs_package()
    options = () if graph_kb is None else ("--graph-kb", str(graph_kb))
    server = QdrantServer(folder, options, *_start(folder, *options))
    try:
        yield server
    finally:
        server.kill()


def _needs_package() -> None:
    if importlib.util.find_spec(PACKAGE) is None:
        reason = "Qdrant's engine needs the package qdrant-edge-py of the extra dev"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def _start(folder: Path, *options: str) -> tuple[subprocess.Popen[bytes], str]:
    log = folder / "qdrant.log"
    command = [sys.executable, "-m", "tests.support.llm.qdrant_server", str(folder), *options]
    with log.open("ab") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT)
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
    line = process.stdout.readline().decode() if ready else ""
    if not line.startswith("listening on "):
        process.kill()
        process.communicate()
        raise AssertionError(f"Qdrant's engine did not start: {log.read_text()[-2000:]}")
    return process, line.removeprefix("listening on ").strip()


BODY_BYTES = 32 << 20
"""Of a request: Qdrant's own limit, where its configuration sets no other."""
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(collections: Collections, engine: ThreadPoolExecutor) -> web.Application:
    """The engine's calls are made in its one thread, one after the other."""
    one = "/collections/{name}"
    spoken: list[tuple[str, str, Callable[..., Any], type[Message] | None]] = [
        ("GET", "/collections", collections.names, None),
        ("GET", one, collections.describe, None),
        ("PUT", one, collections.create, CreateCollection),
        ("DELETE", one, collections.drop, None),
        ("GET", f"{one}/exists", collections.exists, None),
        ("PUT", f"{one}/index", collections.create_index, CreateIndex),
        ("PUT", f"{one}/points", collections.upsert, Upsert),
        ("POST", f"{one}/points", collections.retrieve, Retrieve),
        ("POST", f"{one}/points/query", collections.query, Query),
        ("POST", f"{one}/points/scroll", collections.scroll, Scroll),
        ("POST", f"{one}/points/count", collections.count, Count),
        ("POST", f"{one}/points/delete", collections.delete, Delete),
    ]
    app = web.Application(client_max_size=BODY_BYTES, middlewares=[errors])
    for method, path, call, body in spoken:
        app.router.add_route(method, path, partial(answer, engine, call, body))
    app.router.add_route("*", "/{path:.*}", unspoken)
    return app


async def answer(
    engine: ThreadPoolExecutor, call: Callable[..., Any], body: type[Message] | None, request: web.Request
) -> web.Response:
    """``wait`` changes nothing: what a client does not wait for is done before the answer all the same."""
    if unknown := {*request.query} - {"wait"}:
        raise wrong(f"parameters {sorted(unknown)}")
    arguments: list[Any] = [*request.match_info.values()]
    if body is None and request.can_read_body:
        raise wrong("a body where none is understood")
    if body is not None:
        arguments.append(msgspec.json.decode(await request.read(), type=body))
    result = await asyncio.get_running_loop().run_in_executor(engine, partial(call, *arguments))
    return _json(200, {"result": result, "status": "ok", "time": 0.0})


async def unspoken(request: web.Request) -> web.Response:
    raise wrong(f"{request.method} {request.path} is not spoken here")


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors in Qdrant's form."""
    try:
        return await handler(request)
    except Refused as error:
        return _error(error.status, str(error))
    except web.HTTPRequestEntityTooLarge:
        reason = f"Payload error: JSON payload is larger than allowed (limit: {BODY_BYTES} bytes)."
        return _error(400, reason)
    except msgspec.MsgspecError as error:
        return _error(400, f"Format error in JSON body: {error}")
    except Exception as error:
        if type(error) not in (Exception, ValueError):  # the engine raises no types of its own
            raise
        if str(error).startswith("Service"):
            return _error(500, str(error))
        return _error(400, f"Wrong input: {error}")


def _error(status: int, reason: str) -> web.Response:
    return _json(status, {"status": {"error": reason}, "time": 0.0})


def _json(status: int, message: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(message), status=status, content_type="application/json")


async def serve(folder: Path, port: int, graph_kb: int | None) -> None:
    """Until the process ends."""
    with ThreadPoolExecutor(1) as engine:
        collections = await asyncio.get_running_loop().run_in_executor(engine, Collections, folder, graph_kb)
        runner = web.AppRunner(make_app(collections, engine))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        host, bound = runner.addresses[0][:2]
        sys.stdout.write(f"listening on http://{host}:{bound}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Qdrant's engine as a server, for tests")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--graph-kb", type=int)
    flags = parser.parse_args()
    asyncio.run(serve(flags.folder, flags.port, flags.graph_kb))


if __name__ == "__main__":
    main()
