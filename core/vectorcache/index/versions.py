"""Published versions at hand: manifests are immutable, so each is read once and kept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vectorcache.chunk import Chunk
from vectorcache.errors import CorruptData, InvalidInput, NotFound
from vectorcache.index.manifest import Manifest, decode_manifest, encode_manifest, manifest_key
from vectorcache.index.query import Cells
from vectorcache.layers.blob import BlobLayer
from vectorcache.layers.codec import Codec
from vectorcache.layers.memory import MemoryLayer
from vectorcache.layers.nlayer import NLayerCache
from vectorcache.lru import LRU
from vectorcache.metric import SMALLEST_NORM, Floats, row_norms
from vectorcache.scan import Runs
from vectorcache.stores.base import BlobStore

QUERY_WORK = 2e5
"""A query takes as long as so many multiplications, however few rows it is compared with: 60 us measured."""

_KEPT = 256  # versions; a manifest takes about 100 bytes a chunk


class OpenVersion:
    """A version that can be searched: its manifest, and where each cell stands.

    Attributes:
        chunk_of_cell: (cells,) int32, the number of the chunk of each cell.
        keys, sizes: of the chunks.
    """

    __slots__ = ("_known", "_shapes", "_starts", "_stops", "chunk_of_cell", "keys", "manifest", "sizes")

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.chunk_of_cell = manifest.chunk_of_cell()
        self.keys = [manifest.chunk_key(number) for number in range(len(manifest.chunks))]
        self.sizes = [chunk.bytes for chunk in manifest.chunks]
        self._shapes = [(chunk.rows, manifest.dimension) for chunk in manifest.chunks]
        self._known: set[int] = set()
        self._starts = np.zeros(manifest.cells, dtype=np.int64)
        self._stops = np.zeros(manifest.cells, dtype=np.int64)

    def learn(self, chunks: Mapping[int, Chunk]) -> None:
        """Note where cells stand in chunks; ``runs`` knows those only.

        Raises:
            CorruptData: a chunk has other cells, rows or dimension than the manifest says.
        """
        for number, chunk in chunks.items():
            # Known or not: a scan reads by address, and a chunk of another shape would lead it out of bounds.
            if chunk.vectors.shape != self._shapes[number]:
                raise CorruptData(
                    f"{self.keys[number]!r} holds vectors of shape {chunk.vectors.shape}, not what its manifest says"
                )
        for number in chunks.keys() - self._known:
            chunk, told = chunks[number], self.manifest.chunks[number]
            if chunk.cells != range(told.first_cell, told.first_cell + told.cells):
                raise CorruptData(f"{self.keys[number]!r} holds {chunk.cells}, not what its manifest says")
            self._starts[chunk.cells] = chunk.offsets[:-1]
            self._stops[chunk.cells] = chunk.offsets[1:]
            self._known.add(number)

    def chunks_of(self, cells: Cells) -> list[int]:
        """The chunks of cells, ascending, once each; the cells ascend, and so do their chunks."""
        numbers = self.chunk_of_cell[cells]
        first = np.ones(len(numbers), dtype=bool)
        np.not_equal(numbers[1:], numbers[:-1], out=first[1:])
        distinct: list[int] = numbers[first].tolist()
        return distinct

    def runs(self, cells: Cells, chunks: Mapping[int, Chunk]) -> Runs:
        """The rows of cells, ascending; cells that stand side by side in a chunk are one run."""
        if not len(cells):
            return Runs([], [], [])
        numbers = self.chunk_of_cell[cells]
        first = np.ones(len(cells), dtype=bool)
        first[1:] = (cells[1:] != cells[:-1] + 1) | (numbers[1:] != numbers[:-1])
        begins = np.flatnonzero(first)
        ends = np.append(begins[1:], len(cells)) - 1
        return Runs(
            [chunks[number] for number in numbers[begins].tolist()],
            self._starts[cells[begins]].tolist(),
            self._stops[cells[ends]].tolist(),
        )

    def work(self, queries: int, cells: int) -> float:
        """About how long a scan takes, in multiplications; ``cells`` are those of all queries together."""
        rows = cells * self.manifest.rows / self.manifest.cells
        return queries * QUERY_WORK + rows * self.manifest.dimension


class Versions:
    """Opens versions by collection and number; what it opened it keeps, within a bound."""

    def __init__(self, blobs: BlobStore) -> None:
        self._cache = NLayerCache[OpenVersion](
            [MemoryLayer(LRU(max_items=_KEPT)), BlobLayer(blobs, _ManifestCodec())], name="manifests"
        )

    async def open(self, collection: str, version: int) -> OpenVersion:
        """The version; ``NotFound`` where it is not published."""
        key = manifest_key(collection, version)
        found = await self._cache.get(key)
        if found is None:
            raise NotFound("version", f"{collection}/v{version}")
        return found

    async def close(self) -> None:
        """Wait for what is being read."""
        await self._cache.close()


class _ManifestCodec(Codec[OpenVersion]):
    def encode(self, key: str, value: OpenVersion) -> bytes:
        return encode_manifest(value.manifest)

    def decode(self, key: str, data: bytes) -> OpenVersion:
        return OpenVersion(decode_manifest(data, key))


def check_queries(vectors: Floats, manifest: Manifest) -> None:
    """Raise ``InvalidInput`` where queries (b, d) cannot be searched by the collection's metric."""
    if manifest.metric == "cosine":
        zero = row_norms(vectors) < SMALLEST_NORM
        if zero.any():
            raise InvalidInput(f"vectors[{int(zero.argmax())}]", "a zero vector", "one that has a direction")
