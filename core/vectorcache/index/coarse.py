"""The coarse quantizer: the centroid table of one version, and the search for a query's nearest centroids."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vectorcache.errors import CorruptData
from vectorcache.index.coded import BITS, CodedSearch
from vectorcache.index.manifest import Manifest
from vectorcache.stores.base import BlobStore
from vectorcache.stores.checksum import check
from vectorcache.vectors.arrow import from_vectors, read_ipc, to_vectors, whole, write_ipc
from vectorcache.vectors.codes import TWO_BITS_FROM, row_code_bytes
from vectorcache.vectors.exact import ExactVectorSearch, VectorSearch, check_k
from vectorcache.vectors.metric import Floats

CODED_FROM = 8192
"""Number of cells from which centroids are searched by codes, if their dimension is large enough."""

_QUERY_WORK = 1e5  # fixed cost of a query, in multiplications: 20 to 40 us


def search_over(centroids: Floats, metric: str) -> VectorSearch:
    """Return the search of a centroid table (c, d)."""
    return (CodedSearch if _by_codes(*centroids.shape) else ExactVectorSearch)(centroids, metric)


class CoarseQuantizer:
    """The centroids of a version: at most a few MB per million vectors. Every router holds all of them.

    Attributes:
        manifest: the version.
        chunk_of_cell: (cells,) int32, the number of each cell's chunk.
    """

    def __init__(
        self,
        manifest: Manifest,
        centroids: Floats,
        make_search: Callable[[Floats, str], VectorSearch] = search_over,
    ) -> None:
        if centroids.shape != (manifest.cells, manifest.dimension):
            expected = (manifest.cells, manifest.dimension)
            raise CorruptData(f"{manifest.centroids_key!r} has shape {centroids.shape}, not {expected}")
        self.manifest = manifest
        self.chunk_of_cell = manifest.chunk_of_cell()
        self._search = make_search(centroids, manifest.metric)

    @property
    def nbytes(self) -> int:
        """Approximate bytes of memory."""
        manifest = self.manifest
        cell = 4 * manifest.dimension + 16
        if _by_codes(manifest.cells, manifest.dimension):
            cell += row_code_bytes(manifest.dimension, BITS) + 20  # row number, id and term
        return manifest.cells * cell + 256 * len(manifest.chunks)

    def work(self, queries: int) -> float:
        """Return the approximate cost of ``probe`` for a number of queries, in multiplications."""
        return queries * (_QUERY_WORK + self._search.work())

    def probe(self, queries: Floats, nprobe: int) -> list[NDArray[np.int32]]:
        """Return the numbers of the ``nprobe`` nearest cells of each checked query (b, d), in ascending order."""
        nprobe = min(check_k(nprobe, "nprobe"), len(self._search))
        # In ascending order adjacent cells of a chunk are next to each other and are scanned as one run.
        return list(self._search.chosen(queries, nprobe))


def _by_codes(cells: int, dimension: int) -> bool:
    return cells >= CODED_FROM and dimension >= TWO_BITS_FROM


async def load_coarse(blobs: BlobStore, manifest: Manifest) -> CoarseQuantizer:
    """Read a version's centroids. Raises ``CorruptData`` if their checksum or shape is wrong."""
    key = manifest.centroids_key
    data = (await blobs.get(key)).data
    check(data, manifest.centroids.checksum, key)
    return await asyncio.to_thread(CoarseQuantizer, manifest, decode_centroids(data, key))


def encode_centroids(centroids: Floats) -> bytes:
    """Return centroids (c, d) as an Arrow IPC file of one column."""
    return write_ipc(pa.table({"centroid": from_vectors(centroids)}))


def decode_centroids(data: bytes, key: str) -> Floats:
    """Return centroids (c, d) float32. Raises ``CorruptData`` if the bytes do not decode."""
    return to_vectors(whole(read_ipc(data, key), "centroid", key), key)
