"""The Kubernetes client against a fake API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration
from prometheus_client import CollectorRegistry
from tests.support.operator.resources import obj

from vectorcache_operator.errors import ApiConflict, ApiGone, ApiRefused, ApiUnavailable, NamespaceTerminating
from vectorcache_operator.kinds import SERVICE_MONITOR, VECTOR_CACHE
from vectorcache_operator.kube import Kube, connect
from vectorcache_operator.metrics import OperatorMetrics


class FakeApi:
    """A server that records requests and returns the response that a test sets."""

    def __init__(self) -> None:
        self.status = 200
        self.answer: Any = {}
        self.asked: list[tuple[str, str, dict[str, str], str]] = []
        self.hang = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path, dict(request.query), request.content_type))
        if self.hang:
            await asyncio.Event().wait()
        if isinstance(self.answer, str):
            return web.Response(text=self.answer, status=self.status)
        return web.json_response(self.answer, status=self.status)


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def kube(api: FakeApi) -> AsyncIterator[Kube]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    async with TestServer(app) as server:
        configuration = Configuration(host=str(server.make_url("")).rstrip("/"))
        async with ApiClient(configuration) as client:
            yield Kube(client, OperatorMetrics(CollectorRegistry()), timeout=0.5)


async def test_requests(kube: Kube, api: FakeApi) -> None:
    path = "/apis/vectorcache.io/v1alpha1/namespaces/shop/vectorcaches/products"
    await kube.apply(obj(), force=True, subresource="status")
    await kube.merge(VECTOR_CACHE, "shop", "products", {"a": 1})
    await kube.get(VECTOR_CACHE, "shop", "products")
    await kube.delete(VECTOR_CACHE, "shop", "products", "uid", "Orphan")
    await kube.list_metadata(VECTOR_CACHE, None, "a=b")
    manager = {"fieldManager": "vectorcache-operator"}
    assert api.asked == [
        ("PATCH", f"{path}/status", manager | {"force": "true"}, "application/apply-patch+yaml"),
        ("PATCH", path, manager, "application/merge-patch+json"),
        ("GET", path, {}, "application/json"),
        ("DELETE", path, {}, "application/json"),
        (
            "GET",
            "/apis/vectorcache.io/v1alpha1/vectorcaches",
            {"resourceVersion": "0", "labelSelector": "a=b"},
            "application/json",
        ),
    ]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ApiRefused),
        (403, ApiRefused),
        (404, ApiGone),
        (409, ApiConflict),
        (422, ApiRefused),
        (429, ApiUnavailable),
        (500, ApiUnavailable),
        (503, ApiUnavailable),
    ],
)
async def test_error_types_by_status(kube: Kube, api: FakeApi, status: int, kind: type[Exception]) -> None:
    api.status, api.answer = status, {"message": "no", "reason": "Because"}
    with pytest.raises(kind, match="no") as raised:
        await kube.get(VECTOR_CACHE, "shop", "products")
    assert type(raised.value) is kind
    assert len(api.asked) == 1


async def test_a_mistyped_object_is_refused_although_the_status_is_500(kube: Kube, api: FakeApi) -> None:
    api.status, api.answer = 500, {"message": "failed to create typed patch object (...): expected map"}
    with pytest.raises(ApiRefused):
        await kube.apply(obj(), force=True)


async def test_a_terminating_namespace(kube: Kube, api: FakeApi) -> None:
    cause = {"reason": "NamespaceTerminating", "field": "metadata.namespace"}
    api.status, api.answer = 403, {"message": "no", "reason": "Forbidden", "details": {"causes": [cause]}}
    with pytest.raises(NamespaceTerminating):
        await kube.apply(obj(), force=False)


async def test_a_response_that_is_not_json(kube: Kube, api: FakeApi) -> None:
    api.status, api.answer = 502, "<html>bad gateway</html>"
    with pytest.raises(ApiUnavailable, match="bad gateway"):
        await kube.get(VECTOR_CACHE, "shop", "products")


async def test_every_request_has_a_deadline(kube: Kube, api: FakeApi) -> None:
    api.hang = True
    with pytest.raises(ApiUnavailable, match="GET"):
        await kube.get(VECTOR_CACHE, "shop", "products")


async def test_an_unreachable_server_is_unavailable() -> None:
    async with ApiClient(Configuration(host="http://127.0.0.1:9")) as client:
        with pytest.raises(ApiUnavailable):
            await Kube(client, OperatorMetrics(CollectorRegistry())).get(VECTOR_CACHE, "shop", "products")


async def test_it_connects_with_the_kubeconfig_of_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    context = {"name": "test", "context": {"cluster": "test", "user": "test"}}
    cluster = {"name": "test", "cluster": {"server": "http://127.0.0.1:9"}}
    user = {"name": "test", "user": {"token": "none"}}
    known = {"contexts": [context], "clusters": [cluster], "users": [user], "current-context": "test"}
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Config"} | known))
    async with connect({"KUBECONFIG": str(file)}, OperatorMetrics(CollectorRegistry())) as kube:
        assert kube._client.configuration.host == "http://127.0.0.1:9"


async def test_whether_a_kind_is_served(kube: Kube, api: FakeApi) -> None:
    api.answer = {"resources": [{"name": "servicemonitors"}]}
    assert await kube.serves(SERVICE_MONITOR)
    api.answer = {"resources": []}
    assert not await kube.serves(SERVICE_MONITOR)
    api.status = 404
    assert not await kube.serves(SERVICE_MONITOR)
