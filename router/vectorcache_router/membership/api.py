"""One connection to the Kubernetes API: lists, watches, reads and patches, each within a deadline.

Whoever meets a failure drops the connection and makes a new one: then certificates, token and address are read
again, whichever of them was outdated.
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
"""For a request that is no watch."""

WATCH_SECONDS = 290
"""After so long the API server ends a watch, and it is begun again."""

SILENCE_SECONDS = 90.0
"""A watch without a line for so long is dead: a server sends a bookmark every minute."""

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

Query = list[tuple[str, str]]
Connect = Callable[[], AbstractAsyncContextManager["KubernetesApi"]]
"""Makes a connection for the length of a block."""

_list = msgspec.json.Decoder(ObjectList).decode
_event = msgspec.json.Decoder(Event).decode
_status = msgspec.json.Decoder(Status).decode


class ApiRefused(VectorCacheError):
    """The API answered that it will not do it, as long as nothing else changes."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the Kubernetes API answered {status}: {message}")
        self.status = status
        self.message = message


class KubernetesApi:
    """Requests of one connection, with the client library's addresses, certificates and tokens.

    Raises, from every method:
        Unavailable: no answer in time, none that can be read, or one that says to come back later.
        ApiRefused: any other answer than success.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def list(self, path: str, query: Query) -> tuple[ObjectList, float | None]:
        """All objects, and the time by the server's clock in seconds since the epoch, if it told."""
        async with self._request("GET", path, query) as answer:
            body = await answer.read()
            return _decoded(_list, body), _date(answer.headers.get("Date"))

    async def watch(self, path: str, query: Query, version: str) -> AsyncGenerator[Event]:
        """What changes after a version, until the server ends the watch; bookmarks among it.

        Raises:
            ApiRefused: with status 410 where the version is too old: list again.
        """
        asked = [
            *query,
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", str(WATCH_SECONDS)),
        ]
        timeout = aiohttp.ClientTimeout(
            total=WATCH_SECONDS + SILENCE_SECONDS, sock_connect=REQUEST_SECONDS, sock_read=SILENCE_SECONDS
        )
        async with self._request("GET", path, asked, timeout=timeout) as answer:
            while line := await answer.content.readline():
                event = _decoded(_event, line)
                if event.type == "ERROR":
                    raise _refusal(0, event.object)
                yield event

    async def read(self, path: str) -> bytes:
        """One object."""
        async with self._request("GET", path, []) as answer:
            return await answer.read()

    async def merge(self, path: str, query: Query, change: dict[str, Any]) -> bytes:
        """Change some fields of an object; return it."""
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
            # ValueError: a line that is longer than any object.
            raise Unavailable(f"the Kubernetes API does not answer: {_short(error)}") from error


def connector(environment: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT) -> Connect:
    """How to connect: by the file that ``KUBECONFIG`` names, else as a pod that has a service account.

    Raises:
        InvalidInput: the environment tells neither.
    """
    if not (environment.get("KUBECONFIG") or environment.get("KUBERNETES_SERVICE_HOST")):
        raise InvalidInput(
            "--kubernetes-resource", "given outside of a cluster", "in a pod, or with KUBECONFIG"
        )

    @asynccontextmanager
    async def connect() -> AsyncIterator[KubernetesApi]:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):  # a kubeconfig may name a program that makes tokens
                client = ApiClient(await _configuration(environment, service_account))
        except (ConfigException, OSError, ValueError) as error:
            raise Unavailable(f"the Kubernetes API is not configured: {_short(error)}") from error
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
        raise Unavailable(f"the Kubernetes API answered what is no answer: {error}") from error


def _refusal(status: int, body: bytes | msgspec.Raw) -> VectorCacheError:
    try:
        told = _status(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        told = Status(message="without a reason")
    status = status or told.code
    if status == 429 or status >= 500:
        return Unavailable(f"the Kubernetes API answered {status}: {told.message}")
    return ApiRefused(status, told.message)


def _date(header: str | None) -> float | None:
    try:
        return parsedate_to_datetime(header).timestamp() if header else None
    except ValueError:
        return None


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
