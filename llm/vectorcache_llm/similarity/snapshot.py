"""Snapshots: all entries of an index in any blob store, and back."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import Callable, Sequence

import msgspec

from vectorcache.errors import CorruptData, InvalidInput, NotFound
from vectorcache.stores.base import BlobStore
from vectorcache_llm.errors import FingerprintMismatch
from vectorcache_llm.scope import EVERYTHING, Selection
from vectorcache_llm.similarity.base import IndexEntry, SimilarityIndex
from vectorcache_llm.similarity.codec import decode_entry, encode_entry

PART_BYTES = 4 << 20
"""A part is written when its entries have so many bytes, or there are ..."""
PART_ENTRIES = 1000
"""... so many of them."""
_FORMAT = 1


class Part(msgspec.Struct, frozen=True):
    """One blob of a snapshot."""

    key: str
    entries: int
    sha256: str


class Snapshot(msgspec.Struct, frozen=True):
    """What a snapshot consists of.

    Attributes:
        fingerprint: of the embedder.
        dimension: of its vectors.
        created_at: seconds since the epoch.
        version: the folder of its parts.
        parts: its blobs.
        format: of the parts.
    """

    fingerprint: str
    dimension: int
    created_at: float
    version: str
    parts: list[Part]
    format: int = _FORMAT

    @property
    def entries(self) -> int:
        """How many there are."""
        return sum(part.entries for part in self.parts)


async def save_snapshot(
    index: SimilarityIndex,
    blobs: BlobStore,
    name: str,
    *,
    selection: Selection = EVERYTHING,
    clock: Callable[[], float] = time.time,
) -> Snapshot:
    """Write what an index holds. Whoever loads meanwhile gets the snapshot before this one, or this one, whole.

    The parts of the snapshot before this one stay until the next, for those who are reading them.

    Args:
        index: opened.
        blobs: where to; the keys begin with ``name``.
        name: as keys of blobs are.
        selection: which entries.
        clock: tells seconds since the epoch.

    Raises:
        Conflict: somebody else wrote one meanwhile, which stays.
        Unavailable: index or store did not do their work; the snapshot before this one stays.
    """
    created_at, version = clock(), uuid.uuid4().hex
    before, etag = await _present(blobs, name)
    folder = f"{name}/{version}"
    parts: list[Part] = []
    batch: list[IndexEntry] = []
    size = 0
    async for entry in index.scan(selection):
        batch.append(entry)
        size += entry.vector.nbytes + len(entry.payload) + len(entry.text)
        if size >= PART_BYTES or len(batch) >= PART_ENTRIES:
            parts.append(await _write(blobs, f"{folder}/{len(parts):06d}.msgpack", batch))
            batch, size = [], 0
    if batch:
        parts.append(await _write(blobs, f"{folder}/{len(parts):06d}.msgpack", batch))
    snapshot = Snapshot(index.fingerprint, index.dimension, created_at, version, parts)
    kept = {version, before.version} if before else {version}
    # Who writes one of these now meets a Conflict; who begins after the manifest is written may not.
    others = set(await blobs.list_folders(f"{name}/")) - kept
    await blobs.put(_manifest(name), msgspec.json.encode(snapshot), if_match=etag, if_absent=etag is None)
    await _remove(blobs, name, others)
    return snapshot


async def load_snapshot(
    index: SimilarityIndex, blobs: BlobStore, name: str, *, clock: Callable[[], float] = time.time
) -> int:
    """Add the entries of the last snapshot to an index; say how many. Those that have ended are left out.

    Raises:
        NotFound: there is no such snapshot.
        FingerprintMismatch: it is of another embedder.
        InvalidInput: it is of another dimension.
        CorruptData: a blob is not what was written; entries of those before it have been added.
        Unavailable: index or store did not do their work.
    """
    snapshot = _decoded((await blobs.get(_manifest(name))).data)
    if snapshot.fingerprint != index.fingerprint:
        raise FingerprintMismatch(index.fingerprint, snapshot.fingerprint)
    if snapshot.dimension != index.dimension:
        raise InvalidInput("dimension", index.dimension, f"{snapshot.dimension}, the snapshot's")
    loaded = 0
    for part in snapshot.parts:
        data = (await blobs.get(part.key)).data
        entries = await asyncio.to_thread(_unpacked, part, data)
        now = clock()
        alive = [entry for entry in entries if entry.expires_at is None or entry.expires_at > now]
        await index.add(alive)
        loaded += len(alive)
    return loaded


async def _write(blobs: BlobStore, key: str, entries: Sequence[IndexEntry]) -> Part:
    data, checksum = await asyncio.to_thread(_packed, list(entries))
    await blobs.put(key, data)
    return Part(key, len(entries), checksum)


def _packed(entries: Sequence[IndexEntry]) -> tuple[bytes, str]:
    data = msgspec.msgpack.encode([encode_entry(entry) for entry in entries])
    return data, hashlib.sha256(data).hexdigest()


def _unpacked(part: Part, data: bytes) -> list[IndexEntry]:
    if hashlib.sha256(data).hexdigest() != part.sha256:
        raise CorruptData(f"{part.key} is not what was written")
    return [decode_entry(entry) for entry in msgspec.msgpack.decode(data, type=list[bytes])]


def _manifest(name: str) -> str:
    return f"{name}/snapshot.json"


def _decoded(data: bytes) -> Snapshot:
    try:
        snapshot = msgspec.json.decode(data, type=Snapshot)
    except msgspec.MsgspecError as error:
        raise CorruptData(f"the snapshot cannot be read: {error}") from error
    if snapshot.format != _FORMAT:
        raise CorruptData(f"the snapshot is of format {snapshot.format}; this version reads {_FORMAT}")
    return snapshot


async def _present(blobs: BlobStore, name: str) -> tuple[Snapshot | None, str | None]:
    """The snapshot that is there, and its ETag; one that cannot be read is to be replaced."""
    try:
        blob = await blobs.get(_manifest(name))
    except NotFound:
        return None, None
    try:
        return _decoded(blob.data), blob.etag
    except CorruptData:
        return None, blob.etag


async def _remove(blobs: BlobStore, name: str, versions: set[str]) -> None:
    """Parts of older snapshots, and of those that were never finished."""
    for version in versions:
        for key in [info.key async for info in blobs.list(f"{name}/{version}/")]:
            await blobs.delete(key)
