"""The manifest of a published version of a collection, and the keys of its blobs.

{collection}/current.json              {"version": 7, "pinned": [3]}   the only mutable blob
{collection}/v7/claim.json             claims this number for a build
{collection}/v7/manifest.json          the last blob that a build writes: a version without it does not exist
{collection}/v7/centroids.arrow        one centroid per cell
{collection}/v7/chunks/000042-CHECKSUM.arrow    Arrow IPC, see ``vectorcache.index.chunk``
{collection}/v7/ids/000003-CHECKSUM.arrow       a shard of the id lookup, see ``vectorcache.index.lookup``

Every blob except ``current.json`` and ``claim.json`` is verified by a checksum when it is read. The checksum of a chunk
or lookup shard is in its key (32 hexadecimal digits), that of the centroids is in the manifest, and that of the
manifest is its last field.
"""

from __future__ import annotations

import re

import msgspec
import numpy as np
from numpy.typing import NDArray

from vectorcache.errors import CorruptData, InvalidInput
from vectorcache.stores.checksum import checksum
from vectorcache.vectors.codes import Coder

FORMAT = 3
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
"""Regular expression that the whole name of a collection matches."""


class ChunkInfo(msgspec.Struct, frozen=True):
    """The blob of a chunk: its first cell, number of cells and rows, size in bytes, and checksum."""

    first_cell: int
    cells: int
    rows: int
    bytes: int
    checksum: str


class BlobRef(msgspec.Struct, frozen=True):
    """Another blob of the version: its size in bytes and checksum."""

    bytes: int
    checksum: str


class Tradeoff(msgspec.Struct, frozen=True):
    """Recall and cost of a search of ``nprobe`` cells, measured by the build on held-out queries."""

    nprobe: int
    recall: float
    """Recall of the default search, which uses the codes if there are any."""
    exact_recall: float
    """Recall of a search that compares all vectors of the cells."""
    scanned: float
    """Share of all vectors that are compared."""


class Calibration(msgspec.Struct, frozen=True):
    """The default ``nprobe``, and the measured curve that it was chosen from."""

    nprobe: int
    recall_target: float
    at_k: int
    queries: int
    curve: tuple[Tradeoff, ...]
    sample: str = "vectors"
    """Origin of the queries: "vectors" (held-out vectors of the collection) or "queries" (given to the build)."""

    def nprobe_for(self, recall: float) -> int:
        """Return the smallest measured ``nprobe`` that reaches a recall, or else the largest measured one."""
        for point in self.curve:
            if point.recall >= recall:
                return point.nprobe
        return self.curve[-1].nprobe


class Codes(msgspec.Struct, frozen=True):
    """Parameters of the codes, see ``vectorcache.vectors.codes``."""

    bits: int
    """Bits per component."""
    deviations: float
    """Distance of the lower bound from the estimate, in standard errors."""
    centre: bytes
    """(d,) float32, little-endian; base64 in JSON."""

    def coder(self, metric: str) -> Coder:
        """Return the coder that made the codes."""
        return Coder(self.bits, metric, np.frombuffer(self.centre, dtype="<f4").astype(np.float32))


class PayloadColumn(msgspec.Struct, frozen=True):
    """Name and Arrow type of a payload column."""

    name: str
    type: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One published version of a collection."""

    format: int = FORMAT
    collection: str
    version: int
    metric: str
    dimension: int
    vectors: int
    """Number of vectors in the collection."""
    rows: int
    """Number of rows in its chunks. It may be larger than ``vectors``, because vectors near a boundary are copied."""
    cells: int
    id_type: str
    """"int64" or "string"."""
    payload: tuple[PayloadColumn, ...]
    chunks: tuple[ChunkInfo, ...]
    centroids: BlobRef
    lookup: tuple[BlobRef, ...]
    """Shards of the id lookup."""
    codes: Codes | None
    """None if the collection has no codes."""
    search: Calibration
    built_at: str
    build_seconds: float

    def chunk_key(self, chunk: int) -> str:
        """Return the key of a chunk's blob, which is also its key in every cache."""
        return chunk_key(self.prefix, chunk, self.chunks[chunk].checksum)

    def lookup_key(self, shard: int) -> str:
        """Return the key of a shard of the id lookup."""
        return lookup_key(self.prefix, shard, self.lookup[shard].checksum)

    @property
    def prefix(self) -> str:
        """Prefix of the keys of all blobs of this version."""
        return version_prefix(self.collection, self.version)

    @property
    def centroids_key(self) -> str:
        """Key of the centroids' blob."""
        return f"{self.prefix}centroids.arrow"

    def chunk_of_cell(self) -> NDArray[np.int32]:
        """Return the number of each cell's chunk: (cells,) int32."""
        return np.repeat(
            np.arange(len(self.chunks), dtype=np.int32), [chunk.cells for chunk in self.chunks]
        ).astype(np.int32)


class Current(msgspec.Struct, frozen=True):
    """The mutable pointer: the served version, and the versions that are never deleted."""

    version: int
    pinned: tuple[int, ...] = ()


def chunk_key(prefix: str, chunk: int, digest: str) -> str:
    """Return the key of a chunk's blob, given the prefix of its version and the checksum of its bytes.

    The checksum detects damage wherever the blob is read. It also keeps caches correct if all blobs of a collection
    are removed and its version numbers start again: different content has a different key.
    """
    return f"{prefix}chunks/{chunk:06d}-{digest}.arrow"


def lookup_key(prefix: str, shard: int, digest: str) -> str:
    """Return the key of a shard of the id lookup. The arguments are those of ``chunk_key``."""
    return f"{prefix}ids/{shard:06d}-{digest}.arrow"


def current_key(collection: str) -> str:
    """Return the key of the pointer to the served version."""
    return f"{check_collection(collection)}/current.json"


def version_prefix(collection: str, version: int) -> str:
    """Return the prefix of the keys of all blobs of a version."""
    return f"{check_collection(collection)}/v{version}/"


def manifest_key(collection: str, version: int) -> str:
    """Return the key of a version's manifest."""
    return f"{version_prefix(collection, version)}manifest.json"


def claim_key(collection: str, version: int) -> str:
    """Return the key of the blob by which a build claims a version number."""
    return f"{version_prefix(collection, version)}claim.json"


def check_collection(name: str) -> str:
    """Return the name. Raises ``InvalidInput`` if it is not a name of a collection."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidInput(
            "collection", name, "1 to 128 of A-Z a-z 0-9 . _ -, beginning with a letter or digit"
        )
    return name


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as indented JSON. Its last field is the checksum of the others."""
    fields = msgspec.to_builtins(manifest) | {"checksum": _checksum_of(manifest)}
    return msgspec.json.format(msgspec.json.encode(fields), indent=1)


def decode_manifest(data: bytes, key: str) -> Manifest:
    """Return the manifest in a blob. Raises ``CorruptData`` if it is damaged or of another format."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
        recorded = msgspec.json.decode(data, type=_Recorded).checksum
    except msgspec.MsgspecError as error:
        raise CorruptData(f"manifest {key!r} does not decode: {error}") from error
    if manifest.format != FORMAT:
        raise CorruptData(f"manifest {key!r} has format {manifest.format}; this version reads {FORMAT}")
    if recorded != _checksum_of(manifest):
        raise CorruptData(f"manifest {key!r} is damaged: its checksum differs")
    return manifest


class _Recorded(msgspec.Struct, frozen=True):
    checksum: str = ""


def _checksum_of(manifest: Manifest) -> str:
    """Return the checksum of the fields, which does not depend on the whitespace of the JSON."""
    return checksum(msgspec.json.encode(manifest))
