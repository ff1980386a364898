"""Translation of the errors of the Azure SDK."""

from __future__ import annotations

from typing import Any, cast

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from vectorcache.errors import Conflict, NotFound, Unavailable, VectorCacheError

RETRYABLE_CODES = {"ContainerBeingDeleted", "ContainerDisabled"}
MISSING_CONTAINER_CODES = {"ContainerNotFound"}

CHECK_CREDENTIALS = (
    "check the account name, that the key, SAS token or identity is valid now and may read, write, delete "
    "and list in this container (role 'Storage Blob Data Contributor'), the account's firewall, and this "
    "machine's clock"
)


def translate(error: AzureError, what: str, key: str = "") -> VectorCacheError:
    """Return the ``VectorCacheError`` for an error of the SDK, which the caller sets as ``__cause__``.

    The message contains only the operation (``what``), the HTTP status and the service's error code, because texts and
    URLs of the SDK may contain signatures.
    """
    if isinstance(error, HttpResponseError) and error.status_code:
        return _of_status(error.status_code, error_code(error), what, key)
    if isinstance(error, ClientAuthenticationError):
        return VectorCacheError(f"{what}: no valid credential; {CHECK_CREDENTIALS}")
    if isinstance(error, ServiceRequestError | ServiceResponseError | HttpResponseError):
        return Unavailable(f"{what}: the connection failed ({type(error).__name__})")
    return VectorCacheError(f"{what}: {type(error).__name__}")


def error_code(error: HttpResponseError) -> str:
    """Return the error code of the service, such as ``BlobNotFound``, or an empty string if there is none."""
    if error.response is None:
        return ""
    # The SDK's type of a response omits the headers, which all of its responses have.
    return str(cast(Any, error.response).headers.get("x-ms-error-code", ""))


def _of_status(status: int, code: str, what: str, key: str) -> VectorCacheError:
    message = f"{what}: {status} {code}".rstrip()
    if status in (408, 429) or status >= 500 or code in RETRYABLE_CODES:
        return Unavailable(message)
    if code in MISSING_CONTAINER_CODES:
        return VectorCacheError(f"{message}: the container does not exist; create it, or check the URL")
    if status in (401, 403):
        return VectorCacheError(f"{message}: access denied; {CHECK_CREDENTIALS}")
    if status == 404:
        return NotFound("blob", key)
    if status in (409, 412):
        return Conflict(message)
    return VectorCacheError(message)
