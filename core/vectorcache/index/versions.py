"""Published versions that are open for search. Manifests are immutable, so each is read once and cached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vectorcache.errors import CorruptData, NotFound
from vectorcache.index.chunk import Chunk
from vectorcache.index.manifest import Manifest, decode_manifest, encode_manifest, manifest_key
from vectorcache.index.query import Cells
from vectorcache.index.scan import CellTable
from vectorcache.layers.blob import BlobLayer
from vectorcache.layers.codec import Codec
from vectorcache.layers.memory import MemoryLayer
from vectorcache.layers.nlayer import NLayerCache
from vectorcache.lru import LRU
from vectorcache.stores.base import BlobStore
from vectorcache.vectors import native

QUERY_WORK = 2e5
"""Fixed cost of a query in multiplications, in addition to its rows: 60 us measured."""
CODES_WORK = 1 / 4
"""Cost of comparing codes, relative to their vectors; measured are 0.21 with 256 components, 0.33 with 50, and 0.43
with 24."""

_FIELDS = 6  # fields of a block, see vectorcache.vectors.native.Cells
_KEPT = 256  # cached versions; a manifest takes about 100 bytes per chunk


class OpenVersion:
    """A version that can be searched: its manifest, and the place of each cell.

    Attributes:
        manifest: the manifest.
        chunk_of_cell: (cells,) int32, the number of each cell's chunk.
        keys, sizes: keys of the chunks, and their sizes in bytes.
        code_width: bytes of a row's code; 0 if there are no codes.
        broken: chunks whose blobs contradict the manifest, with the reason. Blobs are immutable, so they stay broken.
    """

    __slots__ = (
        "_addresses",
        "_blocks",
        "_coding",
        "_known",
        "_largest_norm",
        "_shapes",
        "_starts",
        "_stops",
        "broken",
        "chunk_of_cell",
        "code_width",
        "keys",
        "manifest",
        "sizes",
    )

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.chunk_of_cell = manifest.chunk_of_cell()
        self.keys = [manifest.chunk_key(number) for number in range(len(manifest.chunks))]
        self.sizes = [chunk.bytes for chunk in manifest.chunks]
        self._shapes = [(chunk.rows, manifest.dimension) for chunk in manifest.chunks]
        self._starts = np.zeros(manifest.cells, dtype=np.int64)
        self._stops = np.zeros(manifest.cells, dtype=np.int64)
        self._addresses = native.addresses(self.chunk_of_cell, self._starts, self._stops)
        # The latest addresses of each chunk, as an array for the kernel and as the tuple that they were taken from.
        # The identity of the tuple shows whether a chunk is still the same.
        self._blocks = np.zeros((len(manifest.chunks), _FIELDS), dtype=np.int64)
        self._largest_norm = 0.0
        codes = manifest.codes
        self._coding = (
            None if codes is None else native.Coding(codes.coder(manifest.metric), codes.deviations)
        )
        self.code_width = 0 if self._coding is None else self._coding.width
        self.broken: dict[int, CorruptData] = {}
        self._known: list[tuple[int, ...] | None] = [None] * len(manifest.chunks)

    def mismatches(self, numbers: Sequence[int], chunks: Sequence[Chunk]) -> dict[int, CorruptData]:
        """Return an error for each chunk that decodes, but holds something else than the manifest says.

        If vectors are to be compared, the chunks must have been measured (``Chunk.measure``).
        """
        errors = {}
        for number, chunk in zip(numbers, chunks, strict=True):
            if self._known[number] is not chunk.addresses:
                try:
                    self._register(number, chunk)
                except CorruptData as error:
                    errors[number] = error
        return errors

    def table(self, numbers: Sequence[int], chunks: Sequence[Chunk], *, exact: bool = False) -> CellTable:
        """Return where cells are stored in chunks, whose numbers ascend; ``exact`` leaves their codes out.

        The chunks must have passed ``mismatches`` as they are now.
        """
        present = np.array(numbers, dtype=np.int64)
        place = native.Cells(
            *(self.chunk_of_cell, self._starts, self._stops), self._addresses, self._blocks[present], present
        )
        coding = None if exact else self._coding
        return CellTable(chunks, place, self.manifest.rows, self._largest_norm, coding)

    def _register(self, number: int, chunk: Chunk) -> None:
        info = self.manifest.chunks[number]
        # The kernel reads by address: a chunk of another shape would make it read out of bounds.
        expected = (
            self._shapes[number],
            self.code_width,
            range(info.first_cell, info.first_cell + info.cells),
        )
        found = (chunk.vectors.shape, chunk.header.code_width, chunk.cells)
        if found != expected:
            names = ("vectors", "bytes of codes", "cells")
            differ = [
                f"{name}: {a}, not {b}" for name, a, b in zip(names, found, expected, strict=True) if a != b
            ]
            raise CorruptData(f"{self.keys[number]!r} contradicts its manifest: {'; '.join(differ)}")
        # A scan in another thread may be reading the offsets. They never change, because chunks are immutable, so
        # they are written only once.
        if self._known[number] is None:
            self._starts[chunk.cells] = chunk.header.offsets[:-1]
            self._stops[chunk.cells] = chunk.header.offsets[1:]
        self._blocks[number] = chunk.addresses
        self._known[number] = chunk.addresses
        self._largest_norm = max(self._largest_norm, chunk.largest_norm)

    def chunks_of(self, cells: Cells) -> list[int]:
        """Return the distinct chunks of ascending cells, ascending."""
        chunks = self.chunk_of_cell[cells]
        first = np.empty(len(chunks), dtype=bool)
        first[:1] = True
        np.not_equal(chunks[1:], chunks[:-1], out=first[1:])
        numbers: list[int] = chunks[first].tolist()
        return numbers

    def work(self, queries: int, cells: int, *, exact: bool = False) -> float:
        """Return the approximate cost of a scan, in multiplications. ``cells`` counts those of all queries."""
        rows = cells * self.manifest.rows / self.manifest.cells
        share = CODES_WORK if self._coding is not None and not exact else 1.0
        return queries * QUERY_WORK + rows * self.manifest.dimension * share


class Versions:
    """Cache of open versions, by collection and number."""

    def __init__(self, blobs: BlobStore) -> None:
        self._cache = NLayerCache[OpenVersion](
            [MemoryLayer(LRU(max_items=_KEPT)), BlobLayer(blobs, _ManifestCodec())], name="manifests"
        )

    async def open(self, collection: str, version: int) -> OpenVersion:
        """Return a version. Raises ``NotFound`` if it is not published."""
        key = manifest_key(collection, version)
        found = await self._cache.get(key)
        if found is None:
            raise NotFound("version", f"{collection}/v{version}")
        return found

    async def close(self) -> None:
        """Wait for the reads in progress, and close the cache."""
        await self._cache.close()


class _ManifestCodec(Codec[OpenVersion]):
    def encode(self, key: str, value: OpenVersion) -> bytes:
        return encode_manifest(value.manifest)

    def decode(self, key: str, data: bytes) -> OpenVersion:
        return OpenVersion(decode_manifest(data, key))
