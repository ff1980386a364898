"""The only interface to the Kubernetes API: all requests except watches, each with a deadline.

kopf has a separate connection, which it only uses for watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from vectorcache_operator import names
from vectorcache_operator.errors import ApiConflict, ApiGone, ApiRefused, ApiUnavailable, NamespaceTerminating
from vectorcache_operator.kinds import Kind, Object, kind_of, name_of, namespace_of
from vectorcache_operator.metrics import OperatorMetrics

TIMEOUT = 15.0
CONNECTIONS = 16

_MISTYPED = "failed to create typed patch object"
"""Start of the API's message, with status 500, about an applied object that has a field of the wrong type."""

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_JSON = "application/json"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Kube:
    """Requests by kind and name. All methods raise ``ApiRefused`` or ``ApiUnavailable`` (see ``errors``)."""

    def __init__(self, client: ApiClient, metrics: OperatorMetrics, timeout: float = TIMEOUT) -> None:
        self._client = client
        self._metrics = metrics
        self._timeout = timeout

    async def apply(self, wanted: Object, *, force: bool, subresource: str = "") -> Object:
        """Apply an object server-side, and return the live object."""
        kind = kind_of(wanted)
        path = kind.path(namespace_of(wanted), name_of(wanted), subresource)
        query = {"fieldManager": names.FIELD_MANAGER, "force": str(force).lower()}
        return await self._call("PATCH", kind, path, query, wanted, _APPLY)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """Send a merge patch, and return the live object."""
        query = {"fieldManager": names.FIELD_MANAGER}
        return await self._call("PATCH", kind, kind.path(namespace, name), query, patch, _MERGE)

    async def create(self, kind: Kind, namespace: str, obj: Object) -> Object:
        """Create an object. With ``generateName``, the API chooses its name."""
        query = {"fieldManager": names.FIELD_MANAGER}
        return await self._call("POST", kind, kind.path(namespace), query, obj)

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object."""
        return await self._call("GET", kind, kind.path(namespace, name))

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str, propagation: str) -> None:
        """Delete the object that has this uid, and its dependents according to ``propagation``."""
        options = {"preconditions": {"uid": uid}, "propagationPolicy": propagation}
        await self._call("DELETE", kind, kind.path(namespace, name), None, options)

    async def list_metadata(self, kind: Kind, namespace: str | None, selector: str) -> Object:
        """List the metadata of objects from the API server's cache."""
        query = {"resourceVersion": "0"} | ({"labelSelector": selector} if selector else {})
        return await self._call("GET", kind, kind.path(namespace), query, accept=_METADATA_ONLY)

    async def serves(self, kind: Kind) -> bool:
        """Return whether the cluster has a kind."""
        try:
            found = await self._call("GET", kind, f"/apis/{kind.group}/{kind.version}")
        except ApiGone:
            return False
        return any(one["name"] == kind.plural for one in found.get("resources", []))

    async def _call(
        self,
        method: str,
        kind: Kind,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> Object:
        status = 0
        try:
            status, answer = await self._send(method, path, query or {}, body, content_type, accept)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"{method} {path}: {error or type(error).__name__}") from error
        finally:
            self._metrics.api_requests.labels(method, kind.name, str(status or "none")).inc()
        if status >= 400:
            raise _error(status, answer)
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None,
        content_type: str,
        accept: str,
    ) -> tuple[int, Object]:
        headers = {"Accept": accept, "Content-Type": content_type}
        url = f"{path}?{urlencode(query)}" if query else path
        request = await self._client.param_serialize(
            method, url, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        async with asyncio.timeout(self._timeout):
            response = await self._client.call_api(*request, _request_timeout=self._timeout)
            data = await response.read()  # type: ignore[no-untyped-call]
        return response.status, _decoded(data)


@asynccontextmanager
async def connect(environment: Mapping[str, str], metrics: OperatorMetrics) -> AsyncIterator[Kube]:
    """Connect with the pod's service account, or outside of a cluster with the file that KUBECONFIG names."""
    configuration = Configuration()
    if environment.get("KUBERNETES_SERVICE_HOST"):
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        file = environment.get("KUBECONFIG")
        await config.load_kube_config(file, client_configuration=configuration)  # type: ignore[no-untyped-call]
    configuration.connection_pool_maxsize = CONNECTIONS
    async with ApiClient(configuration) as client:
        yield Kube(client, metrics)


def _decoded(data: bytes) -> Object:
    try:
        found: Any = msgspec.json.decode(data)
    except msgspec.DecodeError:
        found = None
    return found if isinstance(found, dict) else {"message": data[:200].decode(errors="replace")}


def _error(status: int, answer: Object) -> Exception:
    message = str(answer.get("message") or f"status {status}")
    reason = str(answer.get("reason") or "")
    if status == 500 and message.startswith(_MISTYPED):
        return ApiRefused(status, "Invalid", message)
    causes = (answer.get("details") or {}).get("causes") or ()
    if any(one.get("reason") == "NamespaceTerminating" for one in causes):
        return NamespaceTerminating(status, reason, message)
    if status == 429 or status >= 500:
        return ApiUnavailable(message)
    kinds = {404: ApiGone, 409: ApiConflict}
    return kinds.get(status, ApiRefused)(status, reason, message)
