"""Opening of a blob store by a URL and a mapping of credentials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from vectorcache.errors import InvalidInput, VectorCacheError
from vectorcache.stores.base import BlobStore
from vectorcache.stores.folder import FolderBlobStore
from vectorcache.stores.memory import MemoryBlobStore
from vectorcache.stores.names import check_name
from vectorcache.stores.retrying import RetryingBlobStore, RetryPolicy

if TYPE_CHECKING:
    from vectorcache.stores.azure import AzureBlobStore

ALLOWED = "memory://, file:///path, a path, azure://account/container[/prefix]"

CONNECTION_STRING = "AZURE_STORAGE_CONNECTION_STRING"
ACCOUNT_KEY = "AZURE_STORAGE_KEY"
SAS_TOKEN = "AZURE_STORAGE_SAS_TOKEN"  # noqa: S105 - the name of a setting

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_CONTAINER = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


def open_blob_store(
    url: str, environment: Mapping[str, str], *, policy: RetryPolicy | None = None
) -> RetryingBlobStore:
    """Open the blob store of a URL, with deadlines and retries.

    ==================================== ==================================================================
    ``memory://``                        an empty ``MemoryBlobStore``
    ``file:///path``, or a plain path    a ``FolderBlobStore``
    ``azure://account/container/prefix`` an ``AzureBlobStore``; the prefix may be left out
    ``azure://container/prefix``         the same, in the account of the connection string
    ==================================== ==================================================================

    The first part of an ``azure`` URL is the account, with one exception: if
    ``AZURE_STORAGE_CONNECTION_STRING`` is set and the part is not its ``AccountName``, the connection string
    defines the account and the part is the container. So a URL with an account works with every kind of credential.

    The credential for Azure is the first of these that ``environment`` has:
    ``AZURE_STORAGE_CONNECTION_STRING``, ``AZURE_STORAGE_KEY``, ``AZURE_STORAGE_SAS_TOKEN``, and the workload
    identity of the pod (``AZURE_FEDERATED_TOKEN_FILE``, ``AZURE_TENANT_ID``, ``AZURE_CLIENT_ID``). Otherwise it is
    Azure's ``DefaultAzureCredential``, which reads the environment of the process.

    Raises:
        InvalidInput: the URL has none of these forms.
        VectorCacheError: the extra ``vectorcache[azure]`` is missing, or a credential is malformed.
    """
    return RetryingBlobStore(_open(url, environment), policy)


def _open(url: str, environment: Mapping[str, str]) -> BlobStore:
    scheme, separator, rest = url.partition("://")
    if not url or "\0" in url:
        raise InvalidInput("url", url, ALLOWED)
    if not separator:
        return FolderBlobStore(Path(url))
    if scheme == "memory" and not rest:
        return MemoryBlobStore()
    if scheme == "file" and rest.startswith("/"):
        return FolderBlobStore(Path(unquote(urlsplit(url).path)))
    if scheme == "azure":
        return _open_azure(_azure_location(url, environment.get(CONNECTION_STRING)), environment)
    raise InvalidInput("url", _without_secrets(url), ALLOWED)


@dataclass(frozen=True, slots=True)
class _AzureLocation:
    """A place in Azure. ``account`` is None if the connection string defines it."""

    account: str | None
    container: str
    prefix: str


def _azure_location(url: str, connection_string: str | None) -> _AzureLocation:
    if "?" in url:
        raise InvalidInput("url", _without_secrets(url), f"{ALLOWED}, without a query")
    first, _, rest = url.removeprefix("azure://").rstrip("/").partition("/")
    if connection_string and first != _account_of(connection_string):
        account, container, prefix = None, first, rest
    else:
        account = first
        container, _, prefix = rest.partition("/")
    if account is not None and not _ACCOUNT.fullmatch(account):
        raise InvalidInput("url", _without_secrets(url), f"{ALLOWED}; account: 3 to 24 of a-z 0-9")
    if not _CONTAINER.fullmatch(container):
        raise InvalidInput("url", _without_secrets(url), f"{ALLOWED}; container: 3 to 63 of a-z 0-9 -")
    if prefix:
        check_name(prefix, "prefix of url")
    return _AzureLocation(account, container, prefix)


def _open_azure(at: _AzureLocation, environment: Mapping[str, str]) -> AzureBlobStore:
    try:
        from vectorcache.stores.azure import AzureBlobStore
    except ImportError as error:
        raise VectorCacheError("azure:// URLs need an extra: install vectorcache[azure]") from error
    if connection_string := environment.get(CONNECTION_STRING):
        return AzureBlobStore.from_connection_string(connection_string, at.container, prefix=at.prefix)
    assert at.account is not None, "without a connection string the URL names the account"
    account_url = f"https://{at.account}.blob.core.windows.net"
    if key := environment.get(ACCOUNT_KEY):
        return AzureBlobStore.from_account_key(account_url, at.account, key, at.container, prefix=at.prefix)
    if token := environment.get(SAS_TOKEN):
        return AzureBlobStore.from_sas(account_url, token, at.container, prefix=at.prefix)
    return AzureBlobStore.from_identity(account_url, at.container, environment, prefix=at.prefix)


def _account_of(connection_string: str) -> str | None:
    pairs = (part.partition("=") for part in connection_string.split(";"))
    return {name.strip().lower(): value for name, _, value in pairs}.get("accountname")


def _without_secrets(url: str) -> str:
    """Return the URL without query and user, which may contain secrets, for messages."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
