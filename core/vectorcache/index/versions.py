"""Published versions at hand: manifests are immutable, so each is read once and kept."""

from __future__ import annotations

from vectorcache.errors import InvalidInput, NotFound
from vectorcache.index.manifest import Manifest, decode_manifest, encode_manifest, manifest_key
from vectorcache.layers.blob import BlobLayer
from vectorcache.layers.codec import Codec
from vectorcache.layers.memory import MemoryLayer
from vectorcache.layers.nlayer import NLayerCache
from vectorcache.lru import LRU
from vectorcache.metric import SMALLEST_NORM, Floats, row_norms
from vectorcache.stores.base import BlobStore

_KEPT = 256  # versions; a manifest takes about 100 bytes a chunk


class OpenVersion:
    """A version that can be searched: its manifest, and the chunk of each cell, (cells,) int32."""

    __slots__ = ("chunk_of_cell", "keys", "manifest", "sizes")

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.chunk_of_cell = manifest.chunk_of_cell()
        self.keys = [manifest.chunk_key(number) for number in range(len(manifest.chunks))]
        self.sizes = [chunk.bytes for chunk in manifest.chunks]

    def work(self, cells: int) -> float:
        """About how many multiplications a scan of so many cells takes."""
        return cells * self.manifest.rows / self.manifest.cells * self.manifest.dimension


class Versions:
    """Opens versions by collection and number; what it opened it keeps, within a bound."""

    def __init__(self, blobs: BlobStore) -> None:
        self._cache = NLayerCache[OpenVersion](
            [MemoryLayer(LRU(max_items=_KEPT)), BlobLayer(blobs, _ManifestCodec())], name="manifests"
        )

    async def open(self, collection: str, version: int) -> OpenVersion:
        """The version; ``NotFound`` where it is not published."""
        key = manifest_key(collection, version)
        found = self._cache.get_nowait(key)
        if found is None:
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
