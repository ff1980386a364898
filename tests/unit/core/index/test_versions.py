from __future__ import annotations

import re

import numpy as np
import pytest
from tests.support.core.collections import NAME, build, clustered
from tests.support.core.control import ControlledBlobs

from vectorcache.errors import CorruptData, InvalidInput, NotFound, Unavailable
from vectorcache.index.catalog import Catalog
from vectorcache.index.chunk import ChunkCodec
from vectorcache.index.manifest import manifest_key
from vectorcache.index.options import check_queries
from vectorcache.index.versions import QUERY_WORK, Versions
from vectorcache.stores.memory import MemoryBlobStore


async def test_a_manifest_is_read_once() -> None:
    blobs = ControlledBlobs(MemoryBlobStore())
    built = (await build(blobs, clustered(200))).manifest
    versions = Versions(blobs)
    before = blobs.control.calls["get"]
    opened = await versions.open(NAME, 1)
    assert await versions.open(NAME, 1) is opened
    assert blobs.control.calls["get"] == before + 1
    assert opened.manifest == built
    assert opened.keys == [built.chunk_key(number) for number in range(len(built.chunks))]
    assert opened.sizes == [chunk.bytes for chunk in built.chunks]
    assert opened.chunk_of_cell.tolist() == built.chunk_of_cell().tolist()
    assert opened.work(3, built.cells) == 3 * QUERY_WORK + built.rows * built.dimension
    await versions.close()


async def test_what_is_not_there_is_not_found_and_asked_for_again() -> None:
    blobs = MemoryBlobStore()
    versions = Versions(blobs)
    with pytest.raises(NotFound, match="version 'words/v1'"):
        await versions.open(NAME, 1)
    await build(blobs, clustered(200))
    assert (await versions.open(NAME, 1)).manifest.version == 1
    await versions.close()


async def test_other_bytes_are_corrupt_and_a_broken_store_is_unavailable() -> None:
    blobs = ControlledBlobs(MemoryBlobStore())
    await blobs.put(manifest_key(NAME, 1), b"{}")
    versions = Versions(blobs)
    with pytest.raises(CorruptData):
        await versions.open(NAME, 1)
    blobs.control.failures["get"] = Unavailable("down")
    with pytest.raises(Unavailable):
        await versions.open(NAME, 1)
    await versions.close()


async def test_a_zero_query_has_no_direction() -> None:
    queries = np.array([[1, 2], [0, 0], [1e-30, 0]], dtype=np.float32)
    for metric in ("euclidean", "dot", "cosine"):
        manifest = (await build(MemoryBlobStore(), clustered(50, 2), metric=metric)).manifest
        check_queries(queries[:1], manifest)
        if metric != "cosine":
            check_queries(queries, manifest)
            continue
        for bad in (1, 2):
            with pytest.raises(InvalidInput, match=r"^vectors\[1\]: 'a zero vector'"):
                check_queries(queries[[0, bad]], manifest)


async def test_a_table_says_where_each_cell_stands_in_the_chunks_that_are_here() -> None:
    blobs = MemoryBlobStore()
    built = (await build(blobs, clustered(400), cells=12, cells_per_chunk=3)).manifest
    versions, codec = Versions(blobs), ChunkCodec()
    opened = await versions.open(NAME, 1)
    for _ in range(2):  # the second time each chunk is another object, at other addresses
        chunks = [codec.decode(key, (await blobs.get(key)).data) for key in opened.keys]
        here = [0, 2, 3]
        assert not opened.mismatches(here, [chunks[number] for number in here])
        table = opened.table(here, [chunks[number] for number in here])
        assert table.chunks == [chunks[number] for number in here]
        assert table.cells.numbers.tolist() == here
        assert table.cells.blocks.tolist() == [list(chunks[number].addresses) for number in here]
        for cell, number in enumerate(built.chunk_of_cell().tolist()):
            if number in here:
                chunk = chunks[number]
                place = (table.cells.starts[cell], table.cells.stops[cell])
                at = cell - chunk.header.first_cell
                assert place == (chunk.header.offsets[at], chunk.header.offsets[at + 1])
    await versions.close()


async def test_a_chunk_with_other_cells_than_its_manifest_says_is_corrupt() -> None:
    blobs = MemoryBlobStore()
    await build(blobs, clustered(400), cells=12, cells_per_chunk=3)
    versions = Versions(blobs)
    opened = await versions.open(NAME, 1)
    other = ChunkCodec().decode(opened.keys[1], (await blobs.get(opened.keys[1])).data)
    assert re.search("000000", str(opened.mismatches([0], [other])[0]))
    await versions.close()


async def test_a_chunk_of_another_shape_is_corrupt_whenever_it_comes() -> None:
    blobs, others = MemoryBlobStore(), MemoryBlobStore()
    await build(blobs, clustered(400), cells=12, cells_per_chunk=3)
    await build(others, clustered(300), cells=12, cells_per_chunk=3)
    versions = Versions(blobs)
    opened = await versions.open(NAME, 1)
    key, strange = opened.keys[0], (await Catalog(others).manifest(NAME)).chunk_key(0)
    own = ChunkCodec().decode(key, (await blobs.get(key)).data)
    other = ChunkCodec().decode(strange, (await others.get(strange)).data)
    assert own.vectors.shape != other.vectors.shape
    assert not opened.mismatches([0], [own])
    assert re.search(r"vectors: \(71, 8\), not \(165, 8\)", str(opened.mismatches([0], [other])[0]))
    await versions.close()


async def test_a_chunk_with_other_codes_than_its_manifest_says_is_corrupt() -> None:
    coded, plain = MemoryBlobStore(), MemoryBlobStore()
    await build(coded, clustered(400), codes="2")
    manifest = (await build(plain, clustered(400))).manifest
    versions = Versions(coded)
    opened = await versions.open(NAME, 1)
    other = ChunkCodec().decode(manifest.chunk_key(0), (await plain.get(manifest.chunk_key(0))).data)
    assert re.search("bytes of codes: 0, not 2", str(opened.mismatches([0], [other])[0]))
    own = ChunkCodec().decode(opened.keys[0], (await coded.get(opened.keys[0])).data)
    assert not opened.mismatches([0], [own])
    assert opened.table([0], [own]).coding is not None
    assert opened.work(1, 24) < opened.work(1, 24, exact=True)
    await versions.close()
