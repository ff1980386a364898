"""Blobs in Azure Blob Storage. Needs the extra ``vectorcache[azure]``."""

from __future__ import annotations

import io
import math
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from azure.core import MatchConditions
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError
from azure.core.pipeline import PipelineRequest
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobPrefix, ContainerClient

from vectorcache.errors import Conflict, InvalidInput, NotFound, Unavailable, VectorCacheError
from vectorcache.stores.azure_errors import error_code, translate
from vectorcache.stores.base import Blob, BlobInfo, BlobStore
from vectorcache.stores.names import (
    check_conditions,
    check_folder,
    check_key,
    check_name,
    check_prefix,
    check_range,
)

DEFAULT_TIMEOUT = 30.0
"""Seconds for the service to answer one request. ``RetryingBlobStore`` sets the deadline of a whole call."""

CONNECT_TIMEOUT = 5.0


class AzureBlobStore(BlobStore):
    """Blobs in one container of an Azure storage account, below an optional prefix.

    Create it by one of the ``from_`` methods, inside a running event loop. Retries of the SDK are disabled: wrap the
    store in a ``RetryingBlobStore``, which counts and bounds all retries.

    Args:
        container: the client, which is closed with the store.
        prefix: folder in the container that contains all keys; empty for the container itself.
        timeout: seconds for the service to answer one request.
        credential: the credential to close with the store, if any.
    """

    def __init__(
        self,
        container: ContainerClient,
        *,
        prefix: str = "",
        timeout: float = DEFAULT_TIMEOUT,
        credential: AsyncTokenCredential | None = None,
    ) -> None:
        if prefix:
            check_name(prefix, "prefix")
        self._container = container
        self._root = f"{prefix}/" if prefix else ""
        self._timeout = math.ceil(timeout)
        self._credential = credential

    @classmethod
    def from_connection_string(
        cls, connection_string: str, container: str, *, prefix: str = "", timeout: float = DEFAULT_TIMEOUT
    ) -> Self:
        """Create a store from a connection string, as shown by the portal and the emulator."""
        try:
            client = ContainerClient.from_connection_string(
                connection_string, container, **_client_options(timeout)
            )
        except ValueError as error:
            raise VectorCacheError("the connection string of the storage account is malformed") from error
        return cls(client, prefix=prefix, timeout=timeout)

    @classmethod
    def from_account_key(
        cls,
        account_url: str,
        account: str,
        key: str,
        container: str,
        *,
        prefix: str = "",
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Self:
        """Create a store from the account's key. ``account_url`` is like ``https://account.blob.core.windows.net``."""
        credential = AzureNamedKeyCredential(account, key)
        client = ContainerClient(account_url, container, credential=credential, **_client_options(timeout))
        return cls(client, prefix=prefix, timeout=timeout)

    @classmethod
    def from_sas(
        cls,
        account_url: str,
        token: str,
        container: str,
        *,
        prefix: str = "",
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Self:
        """Create a store from a shared access signature of the account or the container."""
        credential = AzureSasCredential(token)
        client = ContainerClient(account_url, container, credential=credential, **_client_options(timeout))
        return cls(client, prefix=prefix, timeout=timeout)

    @classmethod
    def from_identity(
        cls,
        account_url: str,
        container: str,
        environment: Mapping[str, str],
        *,
        prefix: str = "",
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Self:
        """Create a store from the workload identity of a pod, or else from ``DefaultAzureCredential``."""
        credential = _identity(environment)
        client = ContainerClient(account_url, container, credential=credential, **_client_options(timeout))
        return cls(client, prefix=prefix, timeout=timeout, credential=credential)

    async def create_container(self) -> bool:
        """Create the container. Return False if it already exists."""
        with _translated(f"create container {self._container.container_name}"):
            try:
                await self._container.create_container(timeout=self._timeout)
            except ResourceExistsError as error:
                if error_code(error) != "ContainerAlreadyExists":
                    raise
                return False
        return True

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Blob:
        """See ``BlobStore.get``."""
        check_key(key)
        check_range(offset, length)
        try:
            with _translated(f"get {key}", key):
                return await self._download(key, offset, length)
        except Conflict as error:
            raise Unavailable(f"get {key}: the blob was replaced while it was read") from error

    async def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """See ``BlobStore.put``."""
        check_key(key)
        check_conditions(if_match, if_absent)
        condition: dict[str, Any] = {"overwrite": not if_absent}
        if if_match is not None:
            condition |= {"etag": if_match, "match_condition": MatchConditions.IfNotModified}
        try:
            with _translated(f"put {key}", key):
                written = await self._container.get_blob_client(self._root + key).upload_blob(
                    data, timeout=self._timeout, raw_request_hook=_send_in_pieces, **condition
                )
        except NotFound as error:
            if if_match is None:
                raise
            raise Conflict(f"put {key}: the blob to replace does not exist") from error
        return _quoted(written["etag"])

    async def delete(self, key: str) -> bool:
        """Delete a blob and its snapshots. Return whether there was one."""
        check_key(key)
        try:
            with _translated(f"delete {key}", key):
                await self._container.delete_blob(
                    self._root + key, delete_snapshots="include", timeout=self._timeout
                )
        except NotFound:
            return False
        return True

    async def head(self, key: str) -> BlobInfo | None:
        """See ``BlobStore.head``."""
        check_key(key)
        try:
            with _translated(f"head {key}", key):
                found = await self._container.get_blob_client(self._root + key).get_blob_properties(
                    timeout=self._timeout
                )
        except NotFound:
            return None
        return BlobInfo(key, found.size, _quoted(found.etag))

    async def list_folders(self, prefix: str = "") -> list[str]:
        """See ``BlobStore.list_folders``."""
        check_folder(prefix)
        start = self._root + prefix
        with _translated(f"list folders of {prefix}"):
            found = self._container.walk_blobs(start, delimiter="/", timeout=self._timeout)
            names = [item.name async for item in found if isinstance(item, BlobPrefix)]
        return sorted(name.removeprefix(start).removesuffix("/") for name in names)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """See ``BlobStore.list``."""
        check_prefix(prefix)
        with _translated(f"list {prefix}"):
            blobs = self._container.list_blobs(self._root + prefix, timeout=self._timeout)
            async for blob in blobs:
                yield self._info(blob)

    async def close(self) -> None:
        """Close the connections."""
        await self._container.close()
        if self._credential is not None:
            await self._credential.close()

    async def _download(self, key: str, offset: int, length: int | None) -> Blob:
        # For an empty blob the service answers a range with 416. Without a range the SDK can read it.
        span: dict[str, Any] = {} if not offset and length is None else {"offset": offset, "length": length}
        client = self._container.get_blob_client(self._root + key)
        try:
            stream = await client.download_blob(timeout=self._timeout, **span)
        except HttpResponseError as error:
            if error.status_code != 416:
                raise
            if not offset:
                return await self._download(key, 0, None)
            raise _beyond_the_end(offset) from error
        data = await stream.readall()
        if offset and not data:  # the emulator's answer to a range that begins at the end
            raise _beyond_the_end(offset)
        return Blob(data, _quoted(stream.properties.etag))

    def _info(self, blob: BlobProperties) -> BlobInfo:
        return BlobInfo(blob.name.removeprefix(self._root), blob.size, _quoted(blob.etag))


@contextmanager
def _translated(what: str, key: str = "") -> Iterator[None]:
    try:
        yield
    except AzureError as error:
        raise translate(error, what, key) from error
    except OSError as error:  # from the token file of a workload identity; the SDK wraps network errors
        raise Unavailable(f"{what}: {error}") from error


def _client_options(timeout: float) -> dict[str, Any]:
    return {"retry_total": 0, "connection_timeout": CONNECT_TIMEOUT, "read_timeout": timeout}


def _beyond_the_end(offset: int) -> InvalidInput:
    return InvalidInput("offset", offset, "less than the size of the blob")


def _send_in_pieces(request: PipelineRequest[Any]) -> None:
    # aiohttp writes bytes in one piece, which blocks the event loop (and it warns of it), but a stream in pieces.
    body = request.http_request.data
    if isinstance(body, bytes):
        request.http_request.data = io.BytesIO(body)


def _quoted(etag: str) -> str:
    # Listings return ETags without quotes, headers return them with quotes.
    return '"{}"'.format(etag.strip('"'))


def _identity(environment: Mapping[str, str]) -> AsyncTokenCredential:
    try:
        from azure.identity.aio import DefaultAzureCredential, WorkloadIdentityCredential
    except ImportError as error:
        raise VectorCacheError("azure-identity is missing: install vectorcache[azure]") from error
    if "AZURE_FEDERATED_TOKEN_FILE" not in environment:
        return DefaultAzureCredential()
    try:
        return WorkloadIdentityCredential(
            tenant_id=environment["AZURE_TENANT_ID"],
            client_id=environment["AZURE_CLIENT_ID"],
            token_file_path=environment["AZURE_FEDERATED_TOKEN_FILE"],
        )
    except KeyError as error:
        raise VectorCacheError(f"workload identity: {error.args[0]} is not set") from error
