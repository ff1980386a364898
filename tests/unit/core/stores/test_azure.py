from __future__ import annotations

import asyncio
import logging
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from azure.storage.blob.aio import ContainerClient
from tests.support.core.blob_store_contract import BlobStoreContract

from vectorcache.errors import Conflict, NotFound, Unavailable, VectorCacheError
from vectorcache.stores import BlobStore, RetryingBlobStore
from vectorcache.stores.azure import AzureBlobStore
from vectorcache_tools.azurite import ACCOUNT, Azurite

KEY = "c2VjcmV0LWtleS1vZi1hLXRlc3Q="

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@pytest.fixture
async def store(azurite: Azurite, azurite_container: str) -> AsyncIterator[AzureBlobStore]:
    async with AzureBlobStore.from_connection_string(azurite.connection_string, azurite_container) as store:
        yield store


@pytest.mark.azurite
class TestAzureBlobStore(BlobStoreContract):
    @pytest.fixture
    def store(self, store: AzureBlobStore) -> BlobStore:
        return store


@pytest.mark.azurite
class TestAzureBlobStoreBelowAPrefix(BlobStoreContract):
    @pytest.fixture
    async def store(self, azurite: Azurite, azurite_container: str) -> AsyncIterator[BlobStore]:
        connect = AzureBlobStore.from_connection_string
        async with connect(azurite.connection_string, azurite_container) as whole:
            for key in ("other", "some/pre", "some/prefix2/x"):
                await whole.put(key, b"not below the prefix")
        async with connect(azurite.connection_string, azurite_container, prefix="some/prefix") as store:
            yield store


@pytest.mark.azurite
class TestAzureBlobStoreRetried(BlobStoreContract):
    @pytest.fixture
    def store(self, store: AzureBlobStore) -> BlobStore:
        return RetryingBlobStore(store)


def settings(connection_string: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in connection_string.strip(";").split(";"))


@pytest.mark.azurite
async def test_opens_with_an_account_key(azurite: Azurite, azurite_container: str) -> None:
    found = settings(azurite.connection_string)
    connect = AzureBlobStore.from_account_key
    async with connect(found["BlobEndpoint"], ACCOUNT, found["AccountKey"], azurite_container) as store:
        await store.put("a", b"x")
        assert (await store.get("a")).data == b"x"


@pytest.mark.azurite
async def test_opens_with_a_sas(azurite: Azurite, azurite_container: str) -> None:
    found = settings(azurite.connection_string)
    token = generate_container_sas(
        ACCOUNT,
        azurite_container,
        found["AccountKey"],
        permission=ContainerSasPermissions(read=True, list=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    async with AzureBlobStore.from_sas(found["BlobEndpoint"], token, azurite_container) as store:
        assert [info async for info in store.list()] == []
        with pytest.raises(VectorCacheError, match=r"403.*access denied; check the account name") as caught:
            await store.put("a", b"x")
    assert not isinstance(caught.value, Unavailable)
    signature = token.partition("sig=")[2].partition("&")[0]
    assert signature not in "".join(traceback.format_exception(caught.value))


@pytest.mark.azurite
async def test_a_wrong_key_is_permanent(azurite: Azurite, azurite_container: str) -> None:
    endpoint = settings(azurite.connection_string)["BlobEndpoint"]
    async with AzureBlobStore.from_account_key(endpoint, ACCOUNT, KEY, azurite_container) as store:
        with pytest.raises(VectorCacheError, match=r"get a: 403.*check the account name") as caught:
            await store.get("a")
    assert type(caught.value) is VectorCacheError
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.azurite
async def test_a_missing_container_is_permanent(azurite: Azurite) -> None:
    async with AzureBlobStore.from_connection_string(azurite.connection_string, "missing") as store:
        calls = [
            store.get("a"),
            store.head("a"),
            store.put("a", b""),
            store.put("a", b"", if_match='"x"'),
            store.delete("a"),
            store.list_folders(),
            anext(aiter(store.list())),
        ]
        for call in calls:
            with pytest.raises(VectorCacheError, match="ContainerNotFound: the container") as caught:
                await call
            assert type(caught.value) is VectorCacheError


@pytest.mark.azurite
async def test_creates_a_container_once(azurite: Azurite) -> None:
    async with AzureBlobStore.from_connection_string(azurite.connection_string, "created-once") as store:
        assert await store.create_container()
        await store.put("a", b"x")
        assert not await store.create_container()
        assert (await store.get("a")).data == b"x"


@pytest.mark.azurite
async def test_secrets_are_not_logged(
    azurite: Azurite, azurite_container: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = settings(azurite.connection_string)
    permission = ContainerSasPermissions(read=True, list=True)
    expiry = datetime.now(UTC) + timedelta(hours=1)
    token = generate_container_sas(
        ACCOUNT, azurite_container, found["AccountKey"], permission=permission, expiry=expiry
    )
    with caplog.at_level(logging.DEBUG, "azure"), caplog.at_level(logging.DEBUG, "vectorcache"):
        async with AzureBlobStore.from_sas(found["BlobEndpoint"], token, azurite_container) as store:
            assert await store.head("a") is None
    assert "REDACTED" in caplog.text
    assert token.partition("sig=")[2].partition("&")[0] not in caplog.text


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[AzureBlobStore]:
    """A store whose service is a function."""
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    url = f"http://{host}:{port}/ouraccount"
    try:
        async with AzureBlobStore.from_account_key(url, "ouraccount", KEY, "container") as store:
            yield store
    finally:
        await runner.cleanup()


def answering(status: int, code: str, seen: list[web.BaseRequest] | None = None) -> Handler:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if seen is not None:
            seen.append(request)
        await request.read()
        return web.Response(status=status, headers={"x-ms-error-code": code} if code else {})

    return handler


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "InvalidHeaderValue", VectorCacheError),
        (401, "NoAuthenticationInformation", VectorCacheError),
        (403, "AuthorizationFailure", VectorCacheError),
        (404, "ContainerNotFound", VectorCacheError),
        (404, "BlobNotFound", NotFound),
        (404, "", NotFound),
        (408, "", Unavailable),
        (409, "ContainerBeingDeleted", Unavailable),
        (412, "ConditionNotMet", Unavailable),
        (429, "", Unavailable),
        (500, "InternalError", Unavailable),
        (500, "OperationTimedOut", Unavailable),
        (503, "ServerBusy", Unavailable),
        (504, "", Unavailable),
    ],
)
async def test_errors_of_reads(status: int, code: str, expected: type[VectorCacheError]) -> None:
    seen: list[web.BaseRequest] = []
    async with served(answering(status, code, seen)) as store:
        with pytest.raises(VectorCacheError) as caught:
            await store.get("a/b")
    assert type(caught.value) is expected
    assert len(seen) == 1, "the SDK's own retries are off"
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (409, "BlobAlreadyExists", Conflict),
        (412, "ConditionNotMet", Conflict),
        (404, "BlobNotFound", Conflict),
        (503, "ServerBusy", Unavailable),
        (403, "AuthorizationPermissionMismatch", VectorCacheError),
        (413, "RequestBodyTooLarge", VectorCacheError),
    ],
)
async def test_errors_of_writes(status: int, code: str, expected: type[VectorCacheError]) -> None:
    seen: list[web.BaseRequest] = []
    async with served(answering(status, code, seen)) as store:
        with pytest.raises(VectorCacheError) as caught:
            await store.put("a/b", b"x", if_match='"1"')
    assert type(caught.value) is expected
    assert [request.headers.get("If-Match") for request in seen] == ['"1"']


@pytest.mark.parametrize("call", ["head", "delete", "list", "list_folders"])
async def test_errors_of_the_other_calls(call: str) -> None:
    async with served(answering(503, "ServerBusy")) as store:
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "head": lambda: store.head("a"),
            "delete": lambda: store.delete("a"),
            "list": lambda: anext(aiter(store.list("a"))),
            "list_folders": lambda: store.list_folders("a/"),
        }
        with pytest.raises(Unavailable, match="503 ServerBusy"):
            await calls[call]()


async def test_no_connection_is_unavailable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and nobody listens
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/ouraccount"
        async with AzureBlobStore.from_sas(url, "sv=1&sig=hidden", "container") as store:
            with pytest.raises(Unavailable, match="the connection failed") as caught:
                await store.get("a")
    assert "hidden" not in "".join(traceback.format_exception(caught.value))


async def test_a_service_that_does_not_answer_is_unavailable() -> None:
    answer = asyncio.Event()

    async def silent(request: web.BaseRequest) -> web.StreamResponse:
        await answer.wait()
        return web.Response()

    runner = web.ServerRunner(web.Server(silent))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}/ouraccount".format(*runner.addresses[0])
    async with AzureBlobStore.from_account_key(url, "ouraccount", KEY, "container", timeout=0.05) as store:
        with pytest.raises(Unavailable, match="the connection failed"):
            await store.head("a")
    answer.set()
    await runner.cleanup()


async def test_a_token_file_that_cannot_be_read_is_said() -> None:
    environment = {
        "AZURE_FEDERATED_TOKEN_FILE": "/missing/token",
        "AZURE_TENANT_ID": "00000000-0000-0000-0000-000000000000",
        "AZURE_CLIENT_ID": "client",
    }
    url = "https://127.0.0.1:1"
    async with AzureBlobStore.from_identity(url, "container", environment) as store:
        with pytest.raises(Unavailable, match="/missing/token"):
            await store.head("a")


async def test_a_refused_token_is_permanent() -> None:
    class Refusing:
        async def get_token(self, *scopes: str, **options: object) -> AccessToken:
            raise ClientAuthenticationError("no token for you")

        async def close(self) -> None:
            closed.set()

    closed = asyncio.Event()
    credential = Refusing()
    client = ContainerClient("https://127.0.0.1:1", "container", credential=credential, retry_total=0)
    async with AzureBlobStore(client, credential=credential) as store:
        with pytest.raises(VectorCacheError, match="head a: no valid credential; check") as caught:
            await store.head("a")
    assert type(caught.value) is VectorCacheError
    assert closed.is_set()
