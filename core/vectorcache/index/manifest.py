"""What a published version of a collection is made of, and where its blobs stand.

{collection}/current.json              {"version": 7, "pinned": [3]}   the only mutable blob
{collection}/v7/claim.json             says that a build took this number
{collection}/v7/manifest.json          the last blob a build writes: a version without it does not exist
{collection}/v7/centroids.arrow        one centroid per cell
{collection}/v7/chunks/000042-CHECKSUM.arrow    Arrow IPC, see ``vectorcache.index.chunk``
{collection}/v7/ids/000003-CHECKSUM.arrow       where the vector of an id stands, see ``vectorcache.index.lookup``

Every blob but ``current.json`` and ``claim.json`` is read together with a checksum: chunks and lookup shards have it
in their keys (32 hexadecimal digits), the centroids' stands in the manifest, and the manifest ends with its own.
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
"""What names of collections match as a whole."""


class ChunkInfo(msgspec.Struct, frozen=True):
    """One chunk blob: where its cells begin, how large it is, and what its bytes hash to."""

    first_cell: int
    cells: int
    rows: int
    bytes: int
    checksum: str


class BlobRef(msgspec.Struct, frozen=True):
    """Another blob of the version: size in bytes and checksum."""

    bytes: int
    checksum: str


class Tradeoff(msgspec.Struct, frozen=True):
    """What a search of ``nprobe`` cells finds and costs, measured by the build on held-out queries."""

    nprobe: int
    recall: float
    """With codes, where there are any."""
    exact_recall: float
    """Where the vectors themselves are compared."""
    scanned: float
    """Share of all vectors that are compared."""


class Calibration(msgspec.Struct, frozen=True):
    """How many cells to probe: the default, and the measured curve that it was read from."""

    nprobe: int
    recall_target: float
    at_k: int
    queries: int
    curve: tuple[Tradeoff, ...]
    sample: str = "vectors"
    """What the queries were: "vectors" of the collection, each held out, or "queries" that the build was given."""

    def nprobe_for(self, recall: float) -> int:
        """The smallest measured ``nprobe`` that reaches a recall; the largest measured one where none does."""
        for point in self.curve:
            if point.recall >= recall:
                return point.nprobe
        return self.curve[-1].nprobe


class Codes(msgspec.Struct, frozen=True):
    """How vectors are coded, see ``vectorcache.vectors.codes``."""

    bits: int
    """Per component."""
    deviations: float
    """How many standard errors below its estimate the lower bound of a distance lies."""
    centre: bytes
    """(d,) float32, little-endian; base64 in JSON."""

    def coder(self, metric: str) -> Coder:
        """What made the codes."""
        return Coder(self.bits, metric, np.frombuffer(self.centre, dtype="<f4").astype(np.float32))


class PayloadColumn(msgspec.Struct, frozen=True):
    """A payload column's name and Arrow type."""

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
    """How many vectors the collection has."""
    rows: int
    """How many rows its chunks have: vectors near a boundary stand in several cells."""
    cells: int
    id_type: str
    """"int64" or "string"."""
    payload: tuple[PayloadColumn, ...]
    chunks: tuple[ChunkInfo, ...]
    centroids: BlobRef
    lookup: tuple[BlobRef, ...]
    """The id lookup's shards."""
    codes: Codes | None
    """None where the vectors have none."""
    search: Calibration
    built_at: str
    build_seconds: float

    def chunk_key(self, chunk: int) -> str:
        """Key of a chunk's blob, which is also its key in every cache and on the ring."""
        return chunk_key(self.prefix, chunk, self.chunks[chunk].checksum)

    def lookup_key(self, shard: int) -> str:
        """Key of a shard of the id lookup."""
        return lookup_key(self.prefix, shard, self.lookup[shard].checksum)

    @property
    def prefix(self) -> str:
        """What the keys of all blobs of this version begin with."""
        return version_prefix(self.collection, self.version)

    @property
    def centroids_key(self) -> str:
        """Key of the centroids' blob."""
        return f"{self.prefix}centroids.arrow"

    def chunk_of_cell(self) -> NDArray[np.int32]:
        """(cells,) int32: the number of the chunk that each cell stands in."""
        return np.repeat(
            np.arange(len(self.chunks), dtype=np.int32), [chunk.cells for chunk in self.chunks]
        ).astype(np.int32)


class Current(msgspec.Struct, frozen=True):
    """The mutable pointer: the version that is served, and those that are never deleted."""

    version: int
    pinned: tuple[int, ...] = ()


def chunk_key(prefix: str, chunk: int, digest: str) -> str:
    """Key of a chunk's blob, given what the keys of its version begin with and the checksum of its bytes.

    The checksum tells damage wherever the blob is read. It also keeps caches right when version numbers begin again,
    because somebody removed all of a collection: other content has another key.
    """
    return f"{prefix}chunks/{chunk:06d}-{digest}.arrow"


def lookup_key(prefix: str, shard: int, digest: str) -> str:
    """Key of a shard of the id lookup, given the checksum of its bytes as for ``chunk_key``."""
    return f"{prefix}ids/{shard:06d}-{digest}.arrow"


def current_key(collection: str) -> str:
    """Key of the pointer to the version that is served."""
    return f"{check_collection(collection)}/current.json"


def version_prefix(collection: str, version: int) -> str:
    """What the keys of all blobs of a version begin with."""
    return f"{check_collection(collection)}/v{version}/"


def manifest_key(collection: str, version: int) -> str:
    """Key of a version's manifest."""
    return f"{version_prefix(collection, version)}manifest.json"


def claim_key(collection: str, version: int) -> str:
    """Key of the blob by which a build takes a version's number."""
    return f"{version_prefix(collection, version)}claim.json"


def check_collection(name: str) -> str:
    """Return the name, or raise ``InvalidInput``."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidInput(
            "collection", name, "1 to 128 of A-Z a-z 0-9 . _ -, beginning with a letter or digit"
        )
    return name


def encode_manifest(manifest: Manifest) -> bytes:
    """JSON, indented, because people read it; its last field is the checksum of the others."""
    fields = msgspec.to_builtins(manifest) | {"checksum": _checksum_of(manifest)}
    return msgspec.json.format(msgspec.json.encode(fields), indent=1)


def decode_manifest(data: bytes, key: str) -> Manifest:
    """The manifest in a blob; ``CorruptData`` where it is not one that this version reads."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
        recorded = msgspec.json.decode(data, type=_Recorded).checksum
    except msgspec.MsgspecError as error:
        raise CorruptData(f"manifest {key!r} does not decode: {error}") from error
    if manifest.format != FORMAT:
        raise CorruptData(f"manifest {key!r} has format {manifest.format}; this version reads {FORMAT}")
    if recorded != _checksum_of(manifest):
        raise CorruptData(f"manifest {key!r} is not what the build wrote: its checksum differs")
    return manifest


class _Recorded(msgspec.Struct, frozen=True):
    checksum: str = ""


def _checksum_of(manifest: Manifest) -> str:
    """That of the fields, however the JSON around them is spaced."""
    return checksum(msgspec.json.encode(manifest))
