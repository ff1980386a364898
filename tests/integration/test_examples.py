"""The Python programs in examples/, each run as a process."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from vectorcache_tools.local import LocalCluster, LocalSettings

pytestmark = pytest.mark.exhaustive

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


async def output_of(example: str, *arguments: str) -> list[str]:
    program = [sys.executable, "-W", "error", str(EXAMPLES / example), *arguments]
    process = await asyncio.create_subprocess_exec(*program, stdout=PIPE, stderr=STDOUT)
    async with asyncio.timeout(60):
        output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return output.splitlines()


def test_each_example_has_a_test_and_is_short() -> None:
    code = Path(__file__).read_text()
    programs = sorted(EXAMPLES.glob("*.py"))
    assert len(programs) == 4
    for program in programs:
        assert f'"{program.name}"' in code or f'"{program.stem}:app"' in code
        assert len(program.read_text().splitlines()) < 60


async def test_a_collection_is_built_and_searched_in_process_and_through_a_router(tmp_path: Path) -> None:
    blobs = str(tmp_path / "blobs")
    built, *neighbours = await output_of("build_and_search.py", blobs)
    assert built == "built version 1: 5000 vectors"
    assert [len(line.split()) for line in neighbours] == [2] * 5
    assert neighbours[0].split() == ["0", "0.000"]

    settings = LocalSettings(blobs, tmp_path / "data", nodes=1, memory="16Mi", disk="64Mi", shard="8Mi")
    async with LocalCluster(settings, os.environ) as cluster:
        listed, *found = await output_of("client.py", cluster.router_url)
    assert listed == "points: 5000 vectors of 32 components"
    assert [line.partition(",")[0] for line in found] == ["17: [17", "42: [42"]


async def test_replies_come_from_the_model_first_and_from_the_cache_in_a_second_run(tmp_path: Path) -> None:
    first = await output_of("llm_cache.py", str(tmp_path))
    assert [line.split()[0] for line in first] == ["miss", "semantic", "refused"]
    assert first[0].partition(" -> ")[2] == first[1].partition(" -> ")[2] != first[2].partition(" -> ")[2]
    second = await output_of("llm_cache.py", str(tmp_path))
    assert [line.split()[0] for line in second] == ["exact", "semantic", "exact"]


async def chat_completion(request: web.Request) -> web.Response:
    body: dict[str, Any] = await request.json()
    message = {"role": "assistant", "content": f"{body['model']}: {body['messages'][-1]['content']}"}
    return web.json_response({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


@asynccontextmanager
async def serving(app: str, environ: dict[str, str]) -> AsyncIterator[str]:
    """Run an application of examples/ by uvicorn on a free port, and yield its URL."""
    program = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", "0", app]
    process = await asyncio.create_subprocess_exec(*program, stderr=PIPE, env={**os.environ, **environ})
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            log = (await process.stderr.readuntil(b"(Press CTRL+C")).decode()
        yield re.findall(r"running on (http://\S+)", log)[0]
    finally:
        process.terminate()
        await process.communicate()


async def test_the_application_caches_the_replies_of_each_user(tmp_path: Path) -> None:
    model = web.Application()
    model.router.add_post("/v1/chat/completions", chat_completion)
    async with TestServer(model) as server, ClientSession() as session:
        environ = {"MODEL_URL": str(server.make_url("/v1")), "MODEL": "small", "DATA": str(tmp_path)}
        async with serving("fastapi_app:app", environ) as url:

            async def ask(user: str, question: str) -> dict[str, str]:
                body = {"user": user, "question": question}
                async with session.post(f"{url}/ask", json=body, raise_for_status=True) as response:
                    return dict(await response.json())

            reply = "small: How do I reverse a list in Python?"
            assert await ask("ann", "How do I reverse a list in Python?") == {
                "reply": reply,
                "outcome": "miss",
            }
            similar = await ask("ann", "How can I reverse a Python list?")
            assert similar == {"reply": reply, "outcome": "semantic"}
            assert (await ask("bob", "How do I reverse a list in Python?"))["outcome"] == "miss"
