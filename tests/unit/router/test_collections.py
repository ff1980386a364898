from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from structlog.testing import capture_logs
from tests.support.core.control import ControlledBlobs
from tests.support.servers import until

from vectorcache.errors import CorruptData, InvalidInput, NotFound, Unavailable
from vectorcache.index.build import build_collection
from vectorcache.index.catalog import Catalog
from vectorcache.index.layout import BuildSettings
from vectorcache.stores.memory import MemoryBlobStore
from vectorcache_router.collections import WARM_SECONDS, Collections, _State

REFRESH = 10.0
ROWS = np.random.default_rng(3).standard_normal((200, 4)).astype(np.float32)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def blobs() -> ControlledBlobs:
    blobs = ControlledBlobs(MemoryBlobStore())
    await build(blobs)
    blobs.control.calls.clear()
    return blobs


@pytest.fixture
async def collections(blobs: ControlledBlobs, clock: Clock) -> AsyncIterator[Collections]:
    collections = Collections(blobs, refresh=REFRESH, max_bytes=1 << 20, clock=clock)
    yield collections
    await collections.close()


async def build(blobs: ControlledBlobs, name: str = "words") -> None:
    await build_collection(blobs, name, ROWS, BuildSettings(cells=8, calibration_queries=20))


async def version(collections: Collections) -> int:
    return (await collections.open("words")).manifest.version


async def serves(collections: Collections, wanted: int) -> None:
    """Wait for a look in the background."""

    async def served() -> bool:
        return await version(collections) == wanted

    await until(served)


async def test_concurrent_first_callers_share_one_look(
    collections: Collections, blobs: ControlledBlobs
) -> None:
    opened = await asyncio.gather(*(collections.open("words") for _ in range(50)))
    assert all(one is opened[0] for one in opened)
    assert blobs.control.calls["get"] == 3, "pointer, manifest, centroids"
    assert await collections.open("words", 1) is opened[0]
    assert blobs.control.calls["get"] == 3


async def test_concurrent_callers_share_one_load(collections: Collections, blobs: ControlledBlobs) -> None:
    opened = await asyncio.gather(*(collections.open("words", 1) for _ in range(50)))
    assert all(one is opened[0] for one in opened)
    assert blobs.control.calls["get"] == 2


async def test_known_collections_are_served_during_a_look(
    collections: Collections, blobs: ControlledBlobs, clock: Clock
) -> None:
    assert await version(collections) == 1
    await build(blobs)
    assert await version(collections) == 1, "not old enough to look"
    clock.now = REFRESH + 1
    gate = blobs.control.hold("get")
    assert [await version(collections) for _ in range(3)] == [1, 1, 1]
    await gate.arrivals(1)
    assert await version(collections) == 1
    gate.open()
    await serves(collections, 2)


async def test_a_roll_back_is_followed(
    collections: Collections, blobs: ControlledBlobs, clock: Clock
) -> None:
    await build(blobs)
    assert await version(collections) == 2
    await Catalog(blobs).roll_back("words")
    clock.now = REFRESH + 1
    await serves(collections, 1)


async def test_known_collections_are_served_while_the_blob_store_fails(
    collections: Collections, blobs: ControlledBlobs, clock: Clock
) -> None:
    await version(collections)
    await build(blobs)
    blobs.control.failures["get"] = Unavailable("no network")
    blobs.control.calls.clear()
    clock.now = REFRESH + 1
    with capture_logs() as logs:
        assert [await version(collections) for _ in range(5)] == [1] * 5

        async def complained() -> bool:
            return len(logs) == 1

        await until(complained)
        assert [await version(collections) for _ in range(5)] == [1] * 5
    (log,) = logs
    assert (log["log_level"], log["error"], log["collection"]) == ("warning", "no network", "words")
    assert blobs.control.calls["get"] == 1, "it is asked again when it is old again, not with every search"
    with pytest.raises(Unavailable):
        await collections.open("other")
    blobs.control.failures.clear()
    clock.now *= 2.5
    await serves(collections, 2)


async def test_a_new_version_is_loaded_completely_before_it_is_served(
    collections: Collections, blobs: ControlledBlobs, clock: Clock
) -> None:
    await version(collections)
    await build(blobs)
    await blobs.delete("words/v2/centroids.arrow")
    await blobs.put("words/v2/centroids.arrow", b"damaged")
    clock.now = REFRESH + 1
    with capture_logs() as logs:
        await version(collections)

        async def complained() -> bool:
            return bool(logs)

        await until(complained)
    assert "checksum" in logs[0]["error"]
    assert await version(collections) == 1


async def test_a_missing_collection_is_looked_up_periodically_until_it_appears(
    collections: Collections, blobs: ControlledBlobs, clock: Clock
) -> None:
    for _ in range(5):
        with pytest.raises(NotFound, match="'later'"):
            await collections.open("later")
    assert blobs.control.calls["get"] == 1
    await build(blobs, "later")
    with pytest.raises(NotFound):
        await collections.open("later")
    clock.now = REFRESH + 1
    assert (await collections.open("later")).manifest.collection == "later", "the first to ask finds it"


async def test_a_deleted_collection_is_not_found_after_a_look(
    collections: Collections, blobs: ControlledBlobs, clock: Clock
) -> None:
    await version(collections)
    await blobs.delete("words/current.json")
    clock.now = REFRESH + 1

    async def gone() -> bool:
        try:
            await collections.open("words")
        except NotFound:
            return True
        return False

    await until(gone)


async def test_a_cancelled_caller_does_not_affect_others(
    collections: Collections, blobs: ControlledBlobs
) -> None:
    gate = blobs.control.hold("get")
    first, second = (asyncio.create_task(collections.open("words")) for _ in range(2))
    await gate.arrivals(1)
    first.cancel()
    await asyncio.wait([first], timeout=5)
    gate.open()
    assert (await second).manifest.version == 1
    assert first.cancelled()


async def test_centroids_are_bounded_in_memory(blobs: ControlledBlobs, clock: Clock) -> None:
    for name in ("a", "b", "c"):
        await build(blobs, name)
    collections = Collections(blobs, refresh=REFRESH, max_bytes=1200, clock=clock)
    first = await collections.open("a")
    assert await collections.open("a") is first
    for name in ("b", "c"):
        await collections.open(name)
    blobs.control.calls.clear()
    assert await collections.open("a") is not first, "it gave place to others"
    assert blobs.control.calls["get"] == 2, "its version was known"
    await collections.close()


async def test_centroids_larger_than_the_memory_are_still_served(
    blobs: ControlledBlobs, clock: Clock
) -> None:
    collections = Collections(blobs, refresh=REFRESH, max_bytes=1, clock=clock)
    with capture_logs() as logs:
        assert await version(collections) == 1
    assert "--centroid-memory" in logs[0]["event"]
    await collections.close()


async def test_all_collections_are_listed_by_name(collections: Collections, blobs: ControlledBlobs) -> None:
    await build(blobs, "another")
    await blobs.put("unfinished/v1/claim.json", b"{}")
    await blobs.put("torn/current.json", b"{")
    served = await collections.served()
    assert [manifest.collection for manifest in served.manifests] == ["another", "words"]
    assert list(served.unreadable) == ["torn"]


@pytest.mark.parametrize("name", ["", ".locks", "a/b", "x" * 129])
async def test_invalid_names_are_refused(collections: Collections, name: str) -> None:
    for chosen in (None, 1):
        with pytest.raises(InvalidInput, match="collection"):
            await collections.open(name, chosen)


async def test_ids_are_found_at_their_place(collections: Collections) -> None:
    manifest = (await collections.open("words")).manifest
    places = await collections.places(manifest, [3, 199, 200, -1, 2**62])
    assert set(places) == {3, 199}
    assert all(0 <= place.chunk < len(manifest.chunks) for place in places.values())


async def test_a_corrupt_id_lookup_is_an_error(collections: Collections, blobs: ControlledBlobs) -> None:
    manifest = (await collections.open("words")).manifest
    key = manifest.lookup_key(0)
    written = (await blobs.get(key)).data
    await blobs.put(key, bytes([*written[:-30], written[-30] ^ 1, *written[-29:]]))
    with pytest.raises(CorruptData, match=f"{key}' is damaged"):
        await collections.places(manifest, [3])
    await blobs.put(key, written)
    assert set(await collections.places(manifest, [3])) == {3}


async def test_served_collections_are_opened_before_the_first_search(
    collections: Collections, blobs: ControlledBlobs
) -> None:
    await build(blobs, "another")
    await blobs.put("torn/current.json", b"{")
    with capture_logs() as logs:
        await collections.warm()
    assert collections.warmed
    assert [(log["event"], log["collection"]) for log in logs] == [("could not open collection", "torn")]
    blobs.control.failures["get"] = Unavailable("no network")
    for name in ("another", "words"):
        assert (await collections.open(name)).manifest.version == 1


async def test_a_blob_store_that_does_not_answer_yet_is_asked_again(
    blobs: ControlledBlobs, clock: Clock
) -> None:
    waits = []

    async def sleep(seconds: float) -> None:
        waits.append((seconds, collections.warmed))
        if len(waits) == 3:
            blobs.control.failures.clear()

    blobs.control.failures["get"] = Unavailable("no network")
    collections = Collections(blobs, refresh=REFRESH, max_bytes=1 << 20, clock=clock, sleep=sleep)
    await collections.warm()
    assert waits == [(1.0, False), (2.0, False), (4.0, False)]
    assert collections.warmed
    blobs.control.failures["get"] = Unavailable("no network")
    assert await version(collections) == 1
    await collections.close()


async def test_half_of_the_memory_is_left_for_searched_collections(
    blobs: ControlledBlobs, clock: Clock
) -> None:
    for number in range(20):
        await build(blobs, f"words-{number}")
    blobs.control.calls.clear()
    size = 1200  # of two collections
    collections = Collections(blobs, refresh=REFRESH, max_bytes=10 * size, clock=clock)
    await collections.warm()
    opened = blobs.control.calls["get"] // 3
    assert 10 <= opened < 20
    await collections.close()


async def test_a_deleted_collection_does_not_come_back_in_an_outage(
    blobs: ControlledBlobs, clock: Clock
) -> None:
    kept = MemoryBlobStore()  # where the deleted collection is remembered
    await build_collection(kept, "gone", ROWS, BuildSettings(cells=8, calibration_queries=20))
    collections = Collections(blobs, kept=kept, refresh=REFRESH, max_bytes=1 << 20, clock=clock)
    collections._states.put("gone", _State(None, 0.0))
    blobs.control.failures["get"] = Unavailable("no network")
    clock.now = REFRESH + 1
    with pytest.raises(Unavailable):
        await collections.open("gone")
    await collections.close()


async def test_a_router_does_not_wait_for_collections_beyond_the_timeout(
    blobs: ControlledBlobs, clock: Clock
) -> None:
    collections = Collections(blobs, refresh=REFRESH, max_bytes=1 << 20, clock=clock)
    clock.now = 0.99 * WARM_SECONDS
    assert not collections.warmed
    clock.now = WARM_SECONDS
    assert collections.warmed
    await collections.close()


async def test_only_failed_collections_are_opened_again(
    blobs: ControlledBlobs, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await build(blobs, "another")
    await blobs.put("elsewhere/notes.txt", b"no collection")

    async def sleep(_: float) -> None:
        pass

    collections = Collections(blobs, refresh=REFRESH, max_bytes=1 << 20, clock=clock, sleep=sleep)
    opening, asked = collections.open, []

    async def open_(name: str, version: int | None = None) -> object:
        asked.append(name)
        if name == "another" and asked.count(name) <= 2:
            raise Unavailable("no network")
        return await opening(name, version)

    monkeypatch.setattr(collections, "open", open_)
    with capture_logs() as logs:
        await collections.warm()
    assert asked[:3] == ["another", "elsewhere", "words"]
    # A first look opens the version that it finds in the same way.
    assert (asked.count("another"), asked.count("words"), asked.count("elsewhere")) == (4, 2, 1)
    assert [log["collection"] for log in logs] == ["another"] * 2
    await collections.close()
