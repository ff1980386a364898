from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from tests.support.core.brute_force import distances
from tests.support.core.collections import build, clustered
from tests.support.core.vector_search_contract import METRICS, random_vectors

from vectorcache.errors import CorruptData, InvalidInput, NotFound
from vectorcache.index.coarse import (
    CODED_FROM,
    CoarseQuantizer,
    decode_centroids,
    encode_centroids,
    load_coarse,
    search_over,
)
from vectorcache.index.coded import BITS, CodedSearch
from vectorcache.stores.memory import MemoryBlobStore
from vectorcache.vectors.arrow import write_ipc
from vectorcache.vectors.codes import TWO_BITS_FROM, row_code_bytes
from vectorcache.vectors.exact import ExactVectorSearch


async def make(metric: str = "euclidean") -> tuple[CoarseQuantizer, MemoryBlobStore]:
    blobs = MemoryBlobStore()
    result = await build(blobs, clustered(600), metric=metric)
    return await load_coarse(blobs, result.manifest), blobs


@pytest.mark.parametrize("metric", METRICS)
async def test_probes_the_nearest_cells_in_ascending_order(metric: str) -> None:
    coarse, blobs = await make(metric)
    centroids = decode_centroids((await blobs.get(coarse.manifest.centroids_key)).data, "key")
    queries = random_vectors(6, 8)
    for nprobe in (1, 5, coarse.manifest.cells, 10**6):
        for cells, query in zip(coarse.probe(queries, nprobe), queries, strict=True):
            nearest = np.argsort(distances(centroids, query, metric), kind="stable")[:nprobe]
            assert cells.tolist() == sorted(nearest.tolist())
            assert cells.dtype == np.int32


@pytest.mark.parametrize("nprobe", [0, -1, True, 1.5])
async def test_refuses_an_nprobe_that_is_no_whole_number(nprobe: int) -> None:
    coarse, _ = await make()
    with pytest.raises(InvalidInput, match="^nprobe: "):
        coarse.probe(random_vectors(1, 8), nprobe)


async def test_knows_the_chunk_of_each_cell() -> None:
    coarse, _ = await make()
    for number, chunk in enumerate(coarse.manifest.chunks):
        cells = coarse.chunk_of_cell[chunk.first_cell : chunk.first_cell + chunk.cells]
        assert cells.tolist() == [number] * chunk.cells


def test_centroids_come_back() -> None:
    centroids = random_vectors(5, 3)
    assert decode_centroids(encode_centroids(centroids), "key").tolist() == centroids.tolist()


@pytest.mark.parametrize("data", [b"", b"x" * 100, write_ipc(pa.table({"other": [1]})),
                                  write_ipc(pa.table({"centroid": [[1.0]]}))])  # fmt: skip
def test_other_bytes_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptData, match="'key'"):
        decode_centroids(data, "key")


async def test_centroids_that_were_damaged_are_corrupt() -> None:
    """A flipped bit of a centroid would only show in recall."""
    coarse, blobs = await make()
    key = coarse.manifest.centroids_key
    data = bytearray((await blobs.get(key)).data)
    at = bytes(data).index(decode_centroids(bytes(data), key)[3].tobytes())
    data[at] ^= 1
    await blobs.put(key, bytes(data))
    with pytest.raises(CorruptData, match="checksum differs"):
        await load_coarse(blobs, coarse.manifest)


async def test_centroids_of_another_shape_are_corrupt() -> None:
    coarse, _ = await make()
    with pytest.raises(CorruptData, match="has shape .24, 8., not .24, 9."):
        CoarseQuantizer(msgspec.structs.replace(coarse.manifest, dimension=9), random_vectors(24, 8))


async def test_centroids_that_are_gone_are_not_found() -> None:
    coarse, blobs = await make()
    await blobs.delete(coarse.manifest.centroids_key)
    with pytest.raises(NotFound):
        await load_coarse(blobs, coarse.manifest)


@pytest.mark.parametrize(
    ("cells", "dimension", "kind"),
    [
        (CODED_FROM - 1, TWO_BITS_FROM, ExactVectorSearch),
        (CODED_FROM, TWO_BITS_FROM, CodedSearch),
        (CODED_FROM, TWO_BITS_FROM - 1, ExactVectorSearch),
    ],
)
def test_many_long_centroids_are_searched_by_codes(cells: int, dimension: int, kind: type) -> None:
    assert type(search_over(random_vectors(cells, dimension), "euclidean")) is kind


async def test_tells_the_memory_that_it_takes() -> None:
    coarse, _ = await make()
    cells, chunks = coarse.manifest.cells, len(coarse.manifest.chunks)
    assert coarse.nbytes == cells * (4 * 8 + 16) + 256 * chunks
    large = msgspec.structs.replace(coarse.manifest, cells=CODED_FROM, dimension=TWO_BITS_FROM)
    coarse.manifest = large
    coded = row_code_bytes(TWO_BITS_FROM, BITS)
    assert coarse.nbytes == CODED_FROM * (4 * TWO_BITS_FROM + 36 + coded) + 256 * chunks


async def test_work_is_that_of_the_search() -> None:
    coarse, _ = await make()
    manifest = coarse.manifest
    assert coarse.work(2) - coarse.work(1) > manifest.cells * manifest.dimension
