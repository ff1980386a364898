from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from vectorcache.errors import InvalidInput, VectorCacheError
from vectorcache.stores import BlobStore, RetryPolicy, open_blob_store
from vectorcache.stores import url as url_module
from vectorcache_tools.azurite import Azurite

KEY = "c2VjcmV0LWtleS1vZi1hLXRlc3Q="
CONNECTION = (
    f"DefaultEndpointsProtocol=https;AccountName=ouraccount;AccountKey={KEY};EndpointSuffix=core.windows.net"
)
WITH_CONNECTION = {"AZURE_STORAGE_CONNECTION_STRING": CONNECTION}


async def put_and_get(store: BlobStore) -> bytes:
    async with store:
        await store.put("a/b", b"x", if_absent=True)
        return (await store.get("a/b")).data


async def test_memory() -> None:
    assert await put_and_get(open_blob_store("memory://", {})) == b"x"


async def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    assert await put_and_get(open_blob_store(f"file://{tmp_path}/with%20space", {})) == b"x"
    assert (tmp_path / "with space/a/b").read_bytes() == b"x"


async def test_a_plain_path_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await put_and_get(open_blob_store(str(tmp_path / "absolute"), {})) == b"x"
    monkeypatch.chdir(tmp_path)
    assert await put_and_get(open_blob_store("relative/path", {})) == b"x"
    assert (tmp_path / "relative/path/a/b").exists()


async def test_the_policy_is_the_callers(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = open_blob_store(str(tmp_path / "file"), {}, policy=RetryPolicy(attempts=1))
    with pytest.raises(VectorCacheError):
        await store.put("a", b"")
    assert store.counts.retries == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory://x",
        "file://host/path",
        "file://",
        "s3://bucket/prefix",
        "azure://",
        "azure://account",
        "azure://account/",
        "azure://account/Upper",
        "azure://account/a--b",
        "azure://account/ab",
        "azure://UPPER/container",
        "azure://acc-ount/container",
        "azure://account/container/../x",
        "azure://account/container//x",
        "azure://account/container?sig=secret",
        "/path\0",
    ],
)
def test_refuses_what_names_no_store(url: str) -> None:
    with pytest.raises(InvalidInput, match="url"):
        open_blob_store(url, {})


@pytest.mark.parametrize("url", ["s3://user:hidden@bucket", "azure://account/container/prefix?sig=hidden"])
def test_messages_hide_secrets(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_blob_store(url, {})
    assert "hidden" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("url", "connection", "expected"),
    [
        ("azure://account/container", None, ("account", "container", "")),
        ("azure://account/container/", None, ("account", "container", "")),
        ("azure://account/container/a/b", None, ("account", "container", "a/b")),
        ("azure://ouraccount/container/a/b", CONNECTION, ("ouraccount", "container", "a/b")),
        ("azure://container/a/b", CONNECTION, (None, "container", "a/b")),
        ("azure://container", CONNECTION, (None, "container", "")),
        ("azure://ouraccount/ouraccount/p", CONNECTION, ("ouraccount", "ouraccount", "p")),
    ],
)
def test_azure_locations(url: str, connection: str | None, expected: tuple[str | None, str, str]) -> None:
    at = url_module._azure_location(url, connection)
    assert (at.account, at.container, at.prefix) == expected


@pytest.mark.parametrize(
    "environment",
    [
        WITH_CONNECTION,
        {"AZURE_STORAGE_KEY": KEY},
        {"AZURE_STORAGE_SAS_TOKEN": "sv=2024-01-01&sig=abc"},
        {"AZURE_FEDERATED_TOKEN_FILE": "/token", "AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client"},
        {},
    ],
    ids=["connection string", "key", "SAS", "workload identity", "default"],
)
async def test_every_kind_of_credential_opens(environment: dict[str, str]) -> None:
    async with open_blob_store("azure://ouraccount/container/prefix", environment) as store:
        assert store.counts.calls == 0


@pytest.mark.parametrize(
    "environment",
    [
        {"AZURE_STORAGE_CONNECTION_STRING": f"AccountKey={KEY}"},
        {"AZURE_STORAGE_CONNECTION_STRING": KEY},
        {"AZURE_FEDERATED_TOKEN_FILE": "/token"},
    ],
)
async def test_malformed_credentials_are_said_without_showing_them(environment: dict[str, str]) -> None:
    with pytest.raises(VectorCacheError) as caught:
        open_blob_store("azure://ouraccount/container", environment)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vectorcache.stores.azure", None)
    with pytest.raises(VectorCacheError, match=r"install vectorcache\[azure\]"):
        open_blob_store("azure://account/container", {})


def test_the_library_imports_no_sdk() -> None:
    program = "import sys, vectorcache.stores; print({'azure', 'aiohttp'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, timeout=60)
    assert done.stdout.strip() == b"set()"


@pytest.mark.azurite
async def test_opens_azure(azurite: Azurite, azurite_container: str, azurite_url: str) -> None:
    assert await put_and_get(open_blob_store(f"{azurite_url}/some/prefix", azurite.environment)) == b"x"
    async with open_blob_store(f"azure://{azurite_container}", azurite.environment) as store:
        assert [info.key async for info in store.list()] == ["some/prefix/a/b"]
