from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.support.core.collections import NAME, build, clustered
from tests.support.core.flaky_blob_store import Fault, FlakyBlobStore
from tests.support.core.manifests import make_manifest

from vectorcache.errors import Conflict, CorruptData, InvalidInput, NotFound, Unavailable
from vectorcache.index.catalog import Catalog, VersionInfo
from vectorcache.index.manifest import Manifest, current_key, manifest_key
from vectorcache.stores.memory import MemoryBlobStore


def manifest_of(version: int) -> Manifest:
    return msgspec.structs.replace(make_manifest(), version=version)


async def publish(catalog: Catalog, *versions: int) -> None:
    for version in versions:
        await catalog.publish(manifest_of(version))


@pytest.fixture
def blobs() -> FlakyBlobStore:
    return FlakyBlobStore()


@pytest.fixture
def catalog(blobs: FlakyBlobStore) -> Catalog:
    return Catalog(blobs)


async def test_nothing_is_there_at_first(catalog: Catalog) -> None:
    assert await catalog.collections() == []
    assert await catalog.versions(NAME) == []
    for call in (
        catalog.current(NAME),
        catalog.manifest(NAME),
        catalog.roll_back(NAME),
        catalog.verify(NAME),
    ):
        with pytest.raises(NotFound, match="collection 'words'"):
            await call
    for call in (catalog.manifest(NAME, 1), catalog.pin(NAME, 1)):
        with pytest.raises(NotFound, match="version 'words/v1'"):
            await call
    assert await catalog.delete_old(NAME) == []


@pytest.mark.parametrize("name", ["", "../words", "a/b"])
async def test_refuses_names_that_are_no_collections(catalog: Catalog, name: str) -> None:
    for call in (
        catalog.current(name),
        catalog.manifest(name),
        catalog.versions(name),
        catalog.claim(name, b""),
    ):
        with pytest.raises(InvalidInput, match="^collection: "):
            await call


async def test_only_what_is_published_is_a_collection(catalog: Catalog) -> None:
    await catalog.claim("being-built", b"{}")
    await publish(catalog, 1)
    assert await catalog.collections() == [NAME]


async def test_claims_are_never_shared(catalog: Catalog) -> None:
    numbers = await asyncio.gather(*(catalog.claim(NAME, b"{}") for _ in range(10)))
    assert sorted(numbers) == list(range(1, 11))
    assert [info.complete for info in await catalog.versions(NAME)] == [False] * 10


async def test_a_claim_that_always_loses_gives_up(catalog: Catalog, blobs: FlakyBlobStore) -> None:
    class Hidden(MemoryBlobStore):
        async def list_folders(self, prefix: str = "") -> list[str]:
            return []

    hidden = Hidden()
    for _ in range(16):
        await Catalog(hidden).claim(NAME, b"{}")
    with pytest.raises(Conflict, match="16 other builds"):
        await Catalog(hidden).claim(NAME, b"{}")


async def test_publishing_goes_forward_only(catalog: Catalog) -> None:
    assert await catalog.publish(manifest_of(3)) is True
    assert await catalog.publish(manifest_of(1)) is False
    assert await catalog.current(NAME) == 3
    assert await catalog.publish(manifest_of(12)) is True
    assert await catalog.current(NAME) == 12
    assert await catalog.versions(NAME) == [
        VersionInfo(1, complete=True, current=False, pinned=False),
        VersionInfo(3, complete=True, current=False, pinned=False),
        VersionInfo(12, complete=True, current=True, pinned=False),
    ]


async def test_publishing_at_the_same_time_serves_the_newest(catalog: Catalog) -> None:
    published = await asyncio.gather(*(catalog.publish(manifest_of(version)) for version in (2, 5, 1, 4, 3)))
    assert await catalog.current(NAME) == 5
    assert published[1] is True


async def test_a_version_is_published_once(catalog: Catalog) -> None:
    await publish(catalog, 1)
    with pytest.raises(Conflict):
        await publish(catalog, 1)


async def test_every_version_can_be_read(catalog: Catalog) -> None:
    await publish(catalog, 1, 2)
    assert (await catalog.manifest(NAME)).version == 2
    assert (await catalog.manifest(NAME, 1)).version == 1
    with pytest.raises(NotFound, match="version 'words/v9'"):
        await catalog.manifest(NAME, 9)


async def test_rolls_back_and_forward(catalog: Catalog) -> None:
    await publish(catalog, 1, 2, 4)
    assert await catalog.roll_back(NAME) == 2
    assert await catalog.roll_back(NAME) == 1
    with pytest.raises(NotFound, match="before v1"):
        await catalog.roll_back(NAME)
    assert await catalog.roll_back(NAME, 4) == 4
    assert await catalog.current(NAME) == 4
    with pytest.raises(NotFound, match="words/v3"):
        await catalog.roll_back(NAME, 3)
    assert await catalog.current(NAME) == 4


async def test_a_build_after_a_roll_back_is_served(catalog: Catalog) -> None:
    await publish(catalog, 1, 2)
    await catalog.roll_back(NAME)
    assert await catalog.publish(manifest_of(3)) is True


async def test_pins(catalog: Catalog, blobs: FlakyBlobStore) -> None:
    await publish(catalog, 1, 2, 3, 4)
    for version in (3, 1, 2, 1):
        await catalog.pin(NAME, version)
    assert (await blobs.get(current_key(NAME))).data == b'{"version":4,"pinned":[1,2,3]}'
    await catalog.unpin(NAME, 2)
    await catalog.unpin(NAME, 9)
    assert [info.pinned for info in await catalog.versions(NAME)] == [True, False, True, False]
    assert await catalog.delete_old(NAME, keep=1) == [2]
    await catalog.roll_back(NAME, 3)
    assert [info.pinned for info in await catalog.versions(NAME)] == [True, True, False]
    with pytest.raises(NotFound, match="words/v2"):
        await catalog.pin(NAME, 2)


async def test_pins_at_the_same_time_are_all_kept(catalog: Catalog) -> None:
    await publish(catalog, 1, 2, 3, 4)
    await asyncio.gather(*(catalog.pin(NAME, version) for version in (1, 2, 3, 4)))
    assert all(info.pinned for info in await catalog.versions(NAME))


async def test_deletes_old_versions(catalog: Catalog, blobs: FlakyBlobStore) -> None:
    await publish(catalog, 1, 2, 3, 4, 5)
    await catalog.roll_back(NAME, 2)
    assert await catalog.delete_old(NAME, keep=2) == [1, 3]
    assert [info.version for info in await catalog.versions(NAME)] == [2, 4, 5]
    keys = [blob.key async for blob in blobs.list(f"{NAME}/v1/")]
    assert keys == []


@pytest.mark.parametrize("keep", [0, -1])
async def test_at_least_one_version_is_kept(catalog: Catalog, keep: int) -> None:
    with pytest.raises(InvalidInput, match="^keep: "):
        await catalog.delete_old(NAME, keep=keep)


async def test_unfinished_versions_stay_unless_it_is_said(catalog: Catalog) -> None:
    await publish(catalog, 1)
    await catalog.claim(NAME, b"{}")
    await publish(catalog, 3)
    assert await catalog.delete_old(NAME, keep=1) == [1]
    assert [info.version for info in await catalog.versions(NAME)] == [2, 3]
    assert await catalog.delete_old(NAME, keep=1, unfinished=True) == [2]


async def test_a_deletion_that_breaks_off_leaves_no_half_version(
    catalog: Catalog, blobs: FlakyBlobStore
) -> None:
    await build(blobs, clustered(200))
    await build(blobs, clustered(200))
    keys = [blob.key async for blob in blobs.list(f"{NAME}/v1/")]
    real, deleted = blobs.delete, list[str]()

    async def breaks(key: str) -> bool:
        if len(deleted) == 2:
            raise Unavailable("down")
        deleted.append(key)
        return await real(key)

    blobs.delete = breaks  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await catalog.delete_old(NAME, keep=1)
    assert deleted[0] == manifest_key(NAME, 1)
    assert [info.complete for info in await catalog.versions(NAME)] == [False, True]
    blobs.delete = real  # type: ignore[method-assign]
    assert await catalog.delete_old(NAME, keep=1, unfinished=True) == [1]
    assert len(keys) > 3
    assert [blob.key async for blob in blobs.list(f"{NAME}/v1/")] == []


async def test_verify_reads_everything(catalog: Catalog, blobs: FlakyBlobStore) -> None:
    manifest = (await build(blobs, clustered(600))).manifest
    keys = {blob.key: blob.size async for blob in blobs.list(f"{NAME}/v1/")}
    checked = {key: size for key, size in keys.items() if not key.endswith(".json")}
    assert await catalog.verify(NAME) == await catalog.verify(NAME, 1) == sum(checked.values())
    assert len(checked) == len(manifest.chunks) + 2
    for key in checked:
        good = (await blobs.get(key)).data
        for at in (0, len(good) // 2, len(good) - 1):
            bad = bytearray(good)
            bad[at] ^= 1
            await blobs.put(key, bytes(bad))
            with pytest.raises(CorruptData, match=key):
                await catalog.verify(NAME)
        await blobs.delete(key)
        with pytest.raises(NotFound, match=key):
            await catalog.verify(NAME)
        await blobs.put(key, good)
    await catalog.verify(NAME)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"version": "7"}', b"\xff"])
async def test_a_broken_pointer_is_corrupt(catalog: Catalog, blobs: FlakyBlobStore, data: bytes) -> None:
    await blobs.put(current_key(NAME), data)
    with pytest.raises(CorruptData, match="words/current.json"):
        await catalog.current(NAME)


async def test_a_pointer_that_never_stands_still_is_a_conflict(
    catalog: Catalog, blobs: FlakyBlobStore
) -> None:
    await publish(catalog, 1, 2)
    real = blobs.put

    async def interfering(key: str, data: bytes, **conditions: object) -> str:
        if key == current_key(NAME):
            await real(key, b'{"version":1}')
        return await real(key, data, **conditions)  # type: ignore[arg-type]

    blobs.put = interfering  # type: ignore[method-assign]
    with pytest.raises(Conflict, match="16 times in a row"):
        await catalog.pin(NAME, 1)


async def test_a_failing_store_is_told(catalog: Catalog, blobs: FlakyBlobStore) -> None:
    await publish(catalog, 1)
    blobs.faults = [Fault.LOST_REQUEST]
    with pytest.raises(Unavailable):
        await catalog.current(NAME)


async def test_a_damaged_collection_hides_no_other(catalog: Catalog, blobs: FlakyBlobStore) -> None:
    await publish(catalog, 1, 2)
    await blobs.put(current_key("torn-pointer"), b"{")
    await blobs.put(current_key("torn-manifest"), (await blobs.get(current_key(NAME))).data)
    await blobs.put(manifest_key("torn-manifest", 2), b"{")
    await blobs.put(current_key("no-manifest"), (await blobs.get(current_key(NAME))).data)
    served = await catalog.served()
    assert [(manifest.collection, manifest.version) for manifest in served.manifests] == [(NAME, 2)]
    assert sorted(served.unreadable) == ["no-manifest", "torn-manifest", "torn-pointer"]
    assert "names v2, which has no manifest" in str(served.unreadable["no-manifest"])
    assert "torn-pointer/current.json" in str(served.unreadable["torn-pointer"])
