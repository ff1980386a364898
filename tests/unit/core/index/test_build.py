from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.core.collections import NAME, SMALL, assert_answers, build, clustered, opened, table_of
from tests.support.core.control import ControlledBlobs
from tests.support.core.flaky_blob_store import Fault, FlakyBlobStore

from vectorcache.errors import InvalidInput, NotFound, Unavailable
from vectorcache.index.build import build_collection
from vectorcache.index.catalog import Catalog
from vectorcache.index.chunk import ChunkCodec
from vectorcache.index.layout import BuildSettings
from vectorcache.index.lookup import LookupCodec, shard_of
from vectorcache.index.manifest import PayloadColumn
from vectorcache.index.sources import Columns
from vectorcache.stores.memory import MemoryBlobStore

VECTORS = clustered(800)
IDS = [f"id-{row}" for row in range(800)]


async def contents(blobs: MemoryBlobStore, prefix: str = "") -> dict[str, bytes]:
    return {blob.key: (await blobs.get(blob.key)).data async for blob in blobs.list(prefix)}


async def test_the_manifest_tells_what_was_built() -> None:
    blobs = MemoryBlobStore()
    manifest, published = await build(blobs, table_of(VECTORS, IDS))
    assert published
    assert await Catalog(blobs).manifest(NAME) == manifest
    assert (manifest.version, manifest.metric, manifest.dimension) == (1, "euclidean", 8)
    assert (manifest.vectors, manifest.id_type) == (800, "string")
    assert manifest.payload == (PayloadColumn("row", "int64"),)
    assert manifest.rows == sum(chunk.rows for chunk in manifest.chunks) >= 800
    assert manifest.cells == sum(chunk.cells for chunk in manifest.chunks) <= 24
    assert max(chunk.cells for chunk in manifest.chunks) <= 4
    assert 1 <= manifest.search.nprobe <= manifest.cells
    assert manifest.build_seconds >= 0
    stored = await contents(blobs)
    for number, chunk in enumerate(manifest.chunks):
        assert len(stored[manifest.chunk_key(number)]) == chunk.bytes


async def test_every_blob_is_named_by_the_manifest() -> None:
    blobs = MemoryBlobStore()
    manifest, _ = await build(blobs, VECTORS)
    chunks = {manifest.chunk_key(number) for number in range(len(manifest.chunks))}
    others = {manifest.centroids_key, manifest.lookup_key(0), f"{NAME}/current.json"}
    assert set(await contents(blobs)) == chunks | others | {
        f"{NAME}/v1/manifest.json",
        f"{NAME}/v1/claim.json",
    }


async def test_chunks_hold_every_vector_with_its_id_and_payload() -> None:
    blobs = MemoryBlobStore()
    manifest, _ = await build(blobs, table_of(VECTORS, IDS), spread=0.5)
    seen = set()
    for number, info in enumerate(manifest.chunks):
        key = manifest.chunk_key(number)
        chunk = ChunkCodec().decode(key, (await blobs.get(key)).data)
        assert (chunk.header.first_cell, len(chunk.cells), len(chunk)) == (
            info.first_cell,
            info.cells,
            info.rows,
        )
        for at, row in enumerate(chunk.rows.tolist()):
            seen.add(row)
            assert chunk.id_at(at) == IDS[row]
            assert chunk.payload_at(at) == {"row": row}
            assert chunk.vectors[at].tolist() == VECTORS[row].tolist()
    assert seen == set(range(800))


async def test_the_lookup_leads_to_every_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vectorcache.index.lookup.SHARD_IDS", 300)
    blobs = MemoryBlobStore()
    manifest, _ = await build(blobs, table_of(VECTORS, IDS))
    assert len(manifest.lookup) == 3
    stored = await contents(blobs)
    shards = [LookupCodec().decode("", stored[manifest.lookup_key(number)]) for number in range(3)]
    chunks = [
        ChunkCodec().decode("", stored[manifest.chunk_key(number)]) for number in range(len(manifest.chunks))
    ]
    for row, value in enumerate(IDS):
        (place,) = shards[shard_of(value, 3)].find([value])
        assert place is not None
        assert chunks[place.chunk].rows[place.position] == row


async def test_the_same_seed_gives_the_same_bytes() -> None:
    one, two, other = MemoryBlobStore(), MemoryBlobStore(), MemoryBlobStore()
    for blobs, seed in ((one, 3), (two, 3), (other, 4)):
        await build(blobs, table_of(VECTORS, IDS), seed=seed)
    chunks = [await contents(blobs, f"{NAME}/v1/chunks/") for blobs in (one, two, other)]
    assert list(chunks[0].values()) == list(chunks[1].values())
    assert list(chunks[0].values()) != list(chunks[2].values())


async def test_other_content_has_other_keys() -> None:
    """A collection's folder may be removed by hand, and its numbers begin again while caches hold the old chunks."""
    one, two = MemoryBlobStore(), MemoryBlobStore()
    await build(one, table_of(VECTORS, IDS))
    await build(two, table_of(VECTORS, [f"other-{one}" for one in IDS]))
    keys = [
        {*await contents(blobs, f"{NAME}/v1/chunks/"), *await contents(blobs, f"{NAME}/v1/ids/")}
        for blobs in (one, two)
    ]
    assert keys[0].isdisjoint(keys[1])


async def test_builds_side_by_side_each_get_their_version() -> None:
    """And a reader sees one whole version at any moment."""
    blobs = MemoryBlobStore()
    await build(blobs, VECTORS)
    catalog, done = Catalog(blobs), asyncio.Event()

    async def read() -> int:
        last = checked = 0
        while not done.is_set():
            version = await catalog.current(NAME)
            assert version >= last
            if version > last:
                await catalog.verify(NAME, version)
                checked += 1
            last = version
            await asyncio.sleep(0)
        return checked

    async def builds() -> list[int]:
        results = await asyncio.gather(*(build(blobs, VECTORS[: 400 + 50 * at]) for at in range(4)))
        done.set()
        return sorted(result.manifest.version for result in results)

    checked, versions = await asyncio.gather(read(), builds())
    assert versions == [2, 3, 4, 5]
    assert checked >= 1
    assert await catalog.current(NAME) == 5
    for version in range(1, 6):
        await catalog.verify(NAME, version)


async def test_an_older_build_that_ends_later_is_not_served() -> None:
    blobs = ControlledBlobs(MemoryBlobStore())
    await build(blobs, VECTORS)
    arrived, go_on = asyncio.Event(), asyncio.Event()
    real = blobs.inner.put

    async def held(key: str, data: bytes, **conditions: object) -> str:
        if key == f"{NAME}/v2/centroids.arrow":
            arrived.set()
            await go_on.wait()
        return await real(key, data, **conditions)  # type: ignore[arg-type]

    blobs.inner.put = held  # type: ignore[method-assign]
    older = asyncio.create_task(build(blobs, VECTORS))
    await arrived.wait()
    assert (await build(blobs, VECTORS)).published
    go_on.set()
    manifest, published = await older
    assert (manifest.version, published) == (2, False)
    assert await Catalog(blobs).current(NAME) == 3
    await Catalog(blobs).verify(NAME, 2)


async def test_a_build_that_fails_anywhere_harms_nothing() -> None:
    """Each of its calls to the store fails once; the version before is served, and the next build works."""
    counting = FlakyBlobStore()
    await build(counting, VECTORS[:200])
    counting.calls.clear()
    await build(counting, VECTORS[:200])
    calls = len(counting.calls)
    assert calls > 8
    for failing in range(calls):
        blobs = FlakyBlobStore()
        await build(blobs, VECTORS[:200])
        blobs.faults = [Fault.NONE] * failing + [Fault.LOST_REQUEST]
        with pytest.raises(Unavailable, match="the request was lost"):
            await build(blobs, VECTORS[200:400])
        blobs.faults = []
        catalog = Catalog(blobs)
        assert await catalog.current(NAME) == 1
        await catalog.verify(NAME)
        manifest, published = await build(blobs, VECTORS[200:400])
        assert published
        assert manifest.version in (2, 3)
        await catalog.verify(NAME)
        await catalog.delete_old(NAME, keep=1, unfinished=True)
        versions = {key.split("/")[1] for key in await contents(blobs)}
        assert versions == {"current.json", f"v{manifest.version}"}


async def test_a_build_that_is_cancelled_harms_nothing() -> None:
    blobs = ControlledBlobs(MemoryBlobStore())
    await build(blobs, VECTORS)
    gate = blobs.control.hold("put")
    later = asyncio.create_task(build(blobs, VECTORS))
    await gate.arrivals()
    later.cancel()
    with pytest.raises(asyncio.CancelledError):
        await later
    gate.open()
    assert await Catalog(blobs).current(NAME) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.empty((0, 4)), "^vectors: "),
        (np.array([[np.nan]]), r"^vectors\[0\]\[0\]"),
        ("nowhere.npy", "^source: "),
        (pa.table({"key": [1], "id": [2], "vector": [[1.0]]}), "^payload column: 'id'"),
    ],
)
async def test_bad_input_writes_nothing(data: object, message: str) -> None:
    blobs = MemoryBlobStore()
    with pytest.raises(InvalidInput, match=message):
        await build_collection(blobs, NAME, data, columns=Columns(id="key"))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="^collection: "):
        await build_collection(blobs, "../words", VECTORS)
    assert await contents(blobs) == {}


async def test_builds_from_a_file_with_attributes(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    pq.write_table(
        pa.table({"word": IDS, "length": [len(value) for value in IDS]}), tmp_path / "words.parquet"
    )
    blobs = MemoryBlobStore()
    await build_collection(
        blobs,
        NAME,
        tmp_path / "v.npy",
        BuildSettings(**SMALL),  # type: ignore[arg-type]
        columns=Columns(id="word"),
        attributes=tmp_path / "words.parquet",
    )
    async with opened(blobs) as index:
        (answer,) = await index.search(VECTORS[5], 1, payload=True)
    assert (answer.ids, answer.payload) == (["id-5"], [{"length": 4}])


async def test_builds_from_an_iterator() -> None:
    blobs = MemoryBlobStore()
    await build(blobs, (block for block in (VECTORS[:300], VECTORS[300:])))  # type: ignore[arg-type]
    async with opened(blobs) as index:
        answers = await index.search(VECTORS[:5], 10, nprobe=1000)
    assert_answers(answers, VECTORS, range(800), VECTORS[:5], "euclidean", 10)


@pytest.mark.parametrize("count", [1, 2, 9])
async def test_builds_the_smallest_collections(count: int) -> None:
    blobs = MemoryBlobStore()
    await build_collection(blobs, NAME, VECTORS[:count])
    async with opened(blobs) as index:
        answers = await index.search(VECTORS[:3], 20)
    assert_answers(answers, VECTORS[:count], range(count), VECTORS[:3], "euclidean", 20)


async def test_payload_of_dictionaries_in_parts() -> None:
    parts = [pa.array(["a", "b"]).dictionary_encode(), pa.array(["b", "c"]).dictionary_encode()]
    data = pa.table({"vector": pa.array(list(VECTORS[:4])), "kind": pa.chunked_array(parts)})
    blobs = MemoryBlobStore()
    await build_collection(blobs, NAME, data)
    async with opened(blobs) as index:
        answers = await index.search(VECTORS[:4], 1, payload=True, nprobe=100)
    assert [answer.payload for answer in answers] == [[{"kind": kind}] for kind in "abbc"]


async def test_a_version_that_is_not_there_cannot_be_opened() -> None:
    blobs = MemoryBlobStore()
    await build(blobs, VECTORS)
    with pytest.raises(NotFound, match="words/v2"):
        async with opened(blobs, version=2):
            pass


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "dot"])
@pytest.mark.parametrize("bits", [1, 2, 4])
async def test_codes_are_in_every_chunk_and_in_the_manifest(metric: str, bits: int) -> None:
    blobs = MemoryBlobStore()
    vectors = clustered(800, 40)
    manifest, _ = await build(blobs, vectors, metric=metric, codes=str(bits))
    codes = manifest.codes
    assert codes is not None
    assert codes.bits == bits
    assert 2 <= codes.deviations <= 6
    coder = codes.coder(metric)
    assert coder.centre.shape == (40,)
    for number in range(len(manifest.chunks)):
        key = manifest.chunk_key(number)
        chunk = ChunkCodec().decode(key, (await blobs.get(key)).data)
        assert chunk.header.code_width == coder.width
    for point in manifest.search.curve[:-1]:
        assert point.exact_recall - 0.01 <= point.recall <= point.exact_recall
    assert manifest.search.curve[-1].recall == 1.0  # all cells: the vectors are compared


@pytest.mark.parametrize(("dimension", "bits"), [(23, None), (24, 4), (95, 4), (96, 2)])
async def test_the_dimension_decides_whether_there_are_codes(dimension: int, bits: int | None) -> None:
    manifest, _ = await build(MemoryBlobStore(), clustered(100, dimension))
    assert (manifest.codes and manifest.codes.bits) == bits
    plain, _ = await build(MemoryBlobStore(), clustered(100, dimension), codes="none")
    assert plain.codes is None
    assert all(point.recall == point.exact_recall for point in plain.search.curve)


async def test_other_settings_of_codes_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^codes: '3'"):
        await build(MemoryBlobStore(), VECTORS, codes="3")


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "dot"])
@pytest.mark.parametrize("codes", ["none", "2"])
async def test_recall_is_measured_on_the_queries_that_are_given(
    metric: str, codes: str, tmp_path: Path
) -> None:
    """Between the clusters, where no vector is: they need more cells than vectors of the collection."""
    drawn = clustered(3000, 32)
    vectors, queries = drawn[:2500], drawn[2500:2700] + drawn[2700:2900] * np.float32(0.8)
    np.save(tmp_path / "queries.npy", queries)
    blobs = MemoryBlobStore()
    common = {"metric": metric, "codes": codes, "calibration_queries": 150}
    settings = BuildSettings(**{**SMALL, **common})  # type: ignore[arg-type]
    own = (await build_collection(blobs, NAME, vectors, settings)).manifest.search
    given = (
        await build_collection(blobs, NAME, vectors, settings, queries=tmp_path / "queries.npy")
    ).manifest.search
    assert (own.sample, own.queries, given.sample, given.queries) == ("vectors", 150, "queries", 150)
    assert given.curve[0].recall < own.curve[0].recall
    assert given.nprobe > own.nprobe or metric == "dot"
    async with opened(blobs) as index:
        exact = await index.search(queries, nprobe=10**6)
        found = await index.search(queries)
    hits = sum(len(set(one.ids) & set(two.ids)) for one, two in zip(found, exact, strict=True))
    assert hits >= (0.95 - 0.03) * 2000


@pytest.mark.parametrize(
    ("queries", "metric", "field", "allowed"),
    [
        (np.ones((3, 7), dtype=np.float32), "euclidean", "queries", "dimension 8"),
        (np.ones((0, 8), dtype=np.float32), "euclidean", "queries: vectors", "at least one"),
        (np.full((2, 8), np.nan, dtype=np.float32), "euclidean", r"queries: vectors\[0\]\[0\]", "finite"),
        (np.eye(2, 8, dtype=np.float32) * [[1], [0]], "cosine", r"queries\[1\]", "a non-zero vector"),
        ("nowhere.npy", "euclidean", "queries: source", "an existing file"),
    ],
)
async def test_queries_that_could_not_be_searched_are_refused(
    queries: object, metric: str, field: str, allowed: str
) -> None:
    blobs = MemoryBlobStore()
    with pytest.raises(InvalidInput, match=f"^{field}: .*{allowed}"):
        await build_collection(
            blobs,
            NAME,
            VECTORS,
            BuildSettings(metric=metric),
            queries=queries,  # type: ignore[arg-type]
        )
    assert await contents(blobs) == {}
