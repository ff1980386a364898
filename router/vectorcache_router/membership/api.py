"""A connection to the Kubernetes API: lists, watches, reads and patches, each with a deadline.

After a failure, the caller drops the connection and opens a new one, so that certificates, token and address are read
again in case they were outdated.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_kube_config
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from vectorcache.errors import InvalidInput, Unavailable, VectorCacheError
from vectorcache_router.membership.objects import Event, ObjectList, Status

REQUEST_SECONDS = 10.0
"""Timeout of a request other than a watch."""

WATCH_SECONDS = 290
"""Time after which the API server ends a watch, so that the client starts a new one."""

SILENCE_SECONDS = 90.0
"""Time without a line after which a watch is considered dead: the server sends a bookmark every minute."""

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

Query = list[tuple[str, str]]
Connect = Callable[[], AbstractAsyncContextManager["KubernetesApi"]]
"""Opens a connection for the duration of a block."""

_list = msgspec.json.Decoder(ObjectList).decode
_event = msgspec.json.Decoder(Event).decode
_status = msgspec.json.Decoder(Status).decode


class ApiRefused(VectorCacheError):
    """The API refused a request permanently: a retry does not help unless something else changes."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the Kubernetes API responded with status {status}: {message}")
        self.status = status
        self.message = message


class KubernetesApi:
    """Requests over one connection, with the address, certificates and token of the client library.

    Every method raises:
        Unavailable: the response did not arrive in time, was invalid, or had status 429 or 5xx.
        ApiRefused: the response had any other error status.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def list(self, path: str, query: Query) -> tuple[ObjectList, float | None]:
        """Return all objects, and the server's time in seconds since the epoch if the response has a Date header."""
        async with self._request("GET", path, query) as answer:
            body = await answer.read()
            return _decoded(_list, body), _date(answer.headers.get("Date"))

    async def watch(self, path: str, query: Query, version: str) -> AsyncGenerator[Event]:
        """Yield changes after a version, including bookmarks, until the server ends the watch.

        Raises:
            ApiRefused: with status 410 if the version is too old, so that the objects must be listed again.
        """
        parameters = [
            *query,
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", str(WATCH_SECONDS)),
        ]
        timeout = aiohttp.ClientTimeout(
            total=WATCH_SECONDS + SILENCE_SECONDS, sock_connect=REQUEST_SECONDS, sock_read=SILENCE_SECONDS
        )
        async with self._request("GET", path, parameters, timeout=timeout) as answer:
            while line := await answer.content.readline():
                event = _decoded(_event, line)
                if event.type == "ERROR":
                    raise _refusal(0, event.object)
                yield event

    async def read(self, path: str) -> bytes:
        """Return one object as JSON."""
        async with self._request("GET", path, []) as answer:
            return await answer.read()

    async def merge(self, path: str, query: Query, change: dict[str, Any]) -> bytes:
        """Change fields of an object by a merge patch, and return the changed object as JSON."""
        async with self._request("PATCH", path, query, change) as answer:
            return await answer.read()

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: Query,
        body: dict[str, Any] | None = None,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        timeout = timeout or aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        try:
            method, url, signed, data, _ = await self._client.param_serialize(
                method,
                path,
                query_params=query,
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            found = await self._client.rest_client.request(  # type: ignore[no-untyped-call]
                method, url, headers=signed, body=data, _request_timeout=timeout
            )
            async with found.response as answer:
                if answer.status >= 300:
                    raise _refusal(answer.status, await answer.read())
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError, ConfigException, ValueError) as error:
            if isinstance(error, VectorCacheError):
                raise
            # ValueError: a line is longer than the limit of aiohttp.
            raise Unavailable(f"the Kubernetes API does not respond: {_short(error)}") from error


def connector(environment: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT) -> Connect:
    """Return a function that connects with the kubeconfig in ``KUBECONFIG``, or with the pod's service account.

    Raises:
        InvalidInput: the environment has neither.
    """
    if not (environment.get("KUBECONFIG") or environment.get("KUBERNETES_SERVICE_HOST")):
        raise InvalidInput(
            "--kubernetes-resource", "its use outside of a cluster", "a pod, or KUBECONFIG in the environment"
        )

    @asynccontextmanager
    async def connect() -> AsyncIterator[KubernetesApi]:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):  # a kubeconfig may run a program to get a token
                client = ApiClient(await _configuration(environment, service_account))
        except (ConfigException, OSError, ValueError) as error:
            raise Unavailable(f"access to the Kubernetes API is not configured: {_short(error)}") from error
        try:
            yield KubernetesApi(client)
        finally:
            await client.close()  # type: ignore[no-untyped-call]

    return connect


async def _configuration(environment: Mapping[str, str], service_account: Path) -> Configuration:
    configuration = Configuration()
    if path := environment.get("KUBECONFIG"):
        await load_kube_config(config_file=path, client_configuration=configuration, persist_config=False)  # type: ignore[no-untyped-call]
    else:
        InClusterConfigLoader(  # type: ignore[no-untyped-call]
            token_filename=str(service_account / "token"),
            cert_filename=str(service_account / "ca.crt"),
            environ=environment,
        ).load_and_set(configuration)
    return configuration


def _decoded(decode: Callable[[bytes], Any], body: bytes) -> Any:
    try:
        return decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unavailable(f"the Kubernetes API sent an invalid response: {error}") from error


def _refusal(status: int, body: bytes | msgspec.Raw) -> VectorCacheError:
    try:
        details = _status(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        details = Status(message="no reason given")
    status = status or details.code
    if status == 429 or status >= 500:
        return Unavailable(f"the Kubernetes API responded with status {status}: {details.message}")
    return ApiRefused(status, details.message)


def _date(header: str | None) -> float | None:
    try:
        return parsedate_to_datetime(header).timestamp() if header else None
    except ValueError:
        return None


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
