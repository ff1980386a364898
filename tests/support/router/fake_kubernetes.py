"""What of the Kubernetes API goes wrong as a test says: lists and watches of two kinds, and one scale.

How the real one behaves is tested against a real one, in tests/integration/test_kubernetes_membership.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict
from tests.support.core.control import PATIENCE

Object = dict[str, Any]
TOKEN = "a-token"
DATE = "Sat, 21 Nov 2026 12:00:00 GMT"


class FakeKubernetes:
    """Attributes:

    status: what every request is answered with, if not 200.
    watch_status: what every watch is answered with, if not 200.
    oldest: a watch from an older version is told that it is gone.
    token: what a caller must have.
    """

    def __init__(self) -> None:
        self.status = self.watch_status = 200
        self.oldest = 0
        self.token = TOKEN
        self.replicas = 3
        self.lists = self.watches = self.patches = self.refusals = 0
        self._version = 1
        self._objects: dict[str, dict[str, Object]] = {"pods": {}, "statefulsets": {}}
        self._events: list[tuple[int, str, bytes]] = []
        self._changed = asyncio.Condition()
        self._answering = asyncio.Event()
        self._answering.set()
        self._cut = 0

    async def put(self, kind: str, told: Object) -> None:
        name = told["metadata"]["name"]
        event = "MODIFIED" if name in self._objects[kind] else "ADDED"
        self._objects[kind][name] = told
        await self._tell(kind, event, told)

    async def delete(self, kind: str, name: str, *, silently: bool = False) -> None:
        """``silently``: watches are not told, as if the connection had died unnoticed."""
        told = self._objects[kind].pop(name)
        if silently:
            self._version += 1
        else:
            await self._tell(kind, "DELETED", told)

    async def end_watches(self) -> None:
        async with self._changed:
            self._cut += 1
            self._changed.notify_all()

    def hang(self) -> None:
        """Answer nothing until ``answer``."""
        self._answering.clear()

    def answer(self) -> None:
        self._answering.set()

    async def reached(self, *, lists: int = 0, watches: int = 0) -> None:
        """Wait until there were so many."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self.lists >= lists and self.watches >= watches)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._gate])
        app.router.add_get("/api/v1/namespaces/cats/{kind:pods}", self._collection)
        app.router.add_get("/apis/apps/v1/namespaces/cats/{kind:statefulsets}", self._collection)
        scale = "/apis/vectorcache.io/v1alpha1/namespaces/cats/vectorcaches/words/scale"
        app.router.add_get(scale, self._scale)
        app.router.add_patch(scale, self._set_scale)
        return app

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        await self._answering.wait()
        if request.headers.get("Authorization", "").lower() != f"bearer {self.token}":
            return self._refusal(401, "Unauthorized")
        if self.status != 200:
            return self._refusal(self.status, "a reason of its own")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _collection(self, request: web.Request) -> web.StreamResponse:
        kind = request.match_info["kind"]
        if request.query.get("watch"):
            return await self._watch(request, kind)
        async with self._changed:
            self.lists += 1
            self._changed.notify_all()
        items = list(self._objects[kind].values())
        found = {"metadata": {"resourceVersion": str(self._version)}, "items": items}
        return web.json_response(found, headers=CIMultiDict(Date=DATE))

    async def _watch(self, request: web.Request, kind: str) -> web.StreamResponse:
        if self.watch_status != 200:
            return self._refusal(self.watch_status, "no watches today")
        response = web.StreamResponse()
        await response.prepare(request)
        seen = int(request.query["resourceVersion"])
        cut = self._cut
        if seen < self.oldest:
            status = {"kind": "Status", "code": 410, "message": "too old resource version"}
            await response.write(msgspec.json.encode({"type": "ERROR", "object": status}) + b"\n")
            return response
        async with self._changed:
            self.watches += 1
            self._changed.notify_all()
        while self._cut == cut:
            for version, of, line in [event for event in self._events if event[0] > seen]:
                seen = version
                if of == kind:
                    await response.write(line)
            async with self._changed:
                await self._changed.wait_for(lambda: self._cut != cut or self._version > seen)  # noqa: B023
                if not any(event[0] > seen for event in self._events):
                    seen = self._version
        return response

    async def _scale(self, request: web.Request) -> web.Response:
        self.lists += 1
        return web.json_response({"spec": {"replicas": self.replicas}})

    async def _set_scale(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/merge-patch+json"
        assert request.query["fieldManager"] == "vectorcache-router"
        self.patches += 1
        self.replicas = (await request.json())["spec"]["replicas"]
        return await self._scale(request)

    async def _tell(self, kind: str, event: str, told: Object) -> None:
        async with self._changed:
            self._version += 1
            version = {"metadata": told["metadata"] | {"resourceVersion": str(self._version)}}
            line = msgspec.json.encode({"type": event, "object": told | version}) + b"\n"
            self._events.append((self._version, kind, line))
            self._changed.notify_all()

    def _refusal(self, status: int, message: str) -> web.Response:
        self.refusals += 1
        return web.json_response({"kind": "Status", "code": status, "message": message}, status=status)


@asynccontextmanager
async def fake_kubernetes(folder: Path) -> AsyncIterator[tuple[FakeKubernetes, Path]]:
    """A fake, and a kubeconfig that leads to it."""
    fake = FakeKubernetes()
    async with TestServer(fake.app(), handler_cancellation=True, shutdown_timeout=0.1) as server:
        path = folder / "kubeconfig"
        path.write_bytes(kubeconfig(str(server.make_url("")).rstrip("/"), TOKEN))
        yield fake, path


def kubeconfig(url: str, token: str) -> bytes:
    config = {
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    return msgspec.json.encode(config)


def pod(ordinal: int, *, ready: bool = True, address: str | None = None, **more: Any) -> Object:
    """A node's pod as the API tells it; ``more`` goes into its metadata."""
    return {
        "metadata": {"name": f"words-node-{ordinal}", "resourceVersion": "1", **more},
        "spec": {"containers": []},
        "status": {
            "podIP": address or f"10.0.0.{ordinal}",
            "startTime": "2026-11-21T11:00:00Z",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-21T10:59:59Z"},
                {
                    "type": "Ready",
                    "status": str(ready),
                    "lastTransitionTime": "2026-11-21T11:00:00Z",
                },
            ],
        },
    }


def statefulset(replicas: int) -> Object:
    return {"metadata": {"name": "words-node", "resourceVersion": "1"}, "spec": {"replicas": replicas}}
