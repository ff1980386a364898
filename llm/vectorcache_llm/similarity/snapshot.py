"""Snapshots of an index in a blob store."""

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
"""Size at which a part is written."""
PART_ENTRIES = 1000
"""Number of entries at which a part is written."""
_FORMAT = 1


class Part(msgspec.Struct, frozen=True):
    """One blob of a snapshot."""

    key: str
    entries: int
    sha256: str


class Snapshot(msgspec.Struct, frozen=True):
    """The manifest of a snapshot.

    Attributes:
        fingerprint: fingerprint of the embedder.
        dimension: number of components of its vectors.
        created_at: creation time, in seconds since the epoch.
        version: folder that holds the parts.
        parts: blobs of the snapshot.
        format: format version of the parts.
    """

    fingerprint: str
    dimension: int
    created_at: float
    version: str
    parts: list[Part]
    format: int = _FORMAT

    @property
    def entries(self) -> int:
        """Number of entries."""
        return sum(part.entries for part in self.parts)


async def save_snapshot(
    index: SimilarityIndex,
    blobs: BlobStore,
    name: str,
    *,
    selection: Selection = EVERYTHING,
    clock: Callable[[], float] = time.time,
) -> Snapshot:
    """Write the entries of an index. A concurrent load sees either the previous snapshot or this one.

    The parts of the previous snapshot are kept until the next save, for loads that are still in progress.

    Args:
        index: opened index.
        blobs: destination; the keys begin with ``name``.
        name: name of the snapshot, a valid blob key.
        selection: entries to write.
        clock: returns seconds since the epoch.

    Raises:
        Conflict: another save finished first; its snapshot is kept.
        Unavailable: the index or the store failed; the previous snapshot is kept.
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
    # List the folders before the manifest is written. A save that is writing one of them now will get a Conflict,
    # whereas a save that starts after the manifest is written may succeed, and must keep its folder.
    others = set(await blobs.list_folders(f"{name}/")) - kept
    await blobs.put(_manifest(name), msgspec.json.encode(snapshot), if_match=etag, if_absent=etag is None)
    await _remove(blobs, name, others)
    return snapshot


async def load_snapshot(
    index: SimilarityIndex, blobs: BlobStore, name: str, *, clock: Callable[[], float] = time.time
) -> int:
    """Add the entries of the latest snapshot to an index, and return their number. Expired entries are skipped.

    Raises:
        NotFound: the snapshot does not exist.
        FingerprintMismatch: the snapshot belongs to another embedder.
        InvalidInput: the snapshot has another dimension.
        CorruptData: a blob is damaged; the entries of the blobs before it have been added.
        Unavailable: the index or the store failed.
    """
    snapshot = _decoded((await blobs.get(_manifest(name))).data)
    if snapshot.fingerprint != index.fingerprint:
        raise FingerprintMismatch(index.fingerprint, snapshot.fingerprint)
    if snapshot.dimension != index.dimension:
        raise InvalidInput(
            "dimension", index.dimension, f"{snapshot.dimension}, the dimension of the snapshot"
        )
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
        raise CorruptData(f"{part.key} does not match its checksum")
    return [decode_entry(entry) for entry in msgspec.msgpack.decode(data, type=list[bytes])]


def _manifest(name: str) -> str:
    return f"{name}/snapshot.json"


def _decoded(data: bytes) -> Snapshot:
    try:
        snapshot = msgspec.json.decode(data, type=Snapshot)
    except msgspec.MsgspecError as error:
        raise CorruptData(f"the snapshot cannot be read: {error}") from error
    if snapshot.format != _FORMAT:
        raise CorruptData(f"the snapshot has format {snapshot.format}; this version supports {_FORMAT}")
    return snapshot


async def _present(blobs: BlobStore, name: str) -> tuple[Snapshot | None, str | None]:
    """Return the existing snapshot and its ETag. The snapshot is None if it is missing or unreadable."""
    try:
        blob = await blobs.get(_manifest(name))
    except NotFound:
        return None, None
    try:
        return _decoded(blob.data), blob.etag
    except CorruptData:
        return None, blob.etag


async def _remove(blobs: BlobStore, name: str, versions: set[str]) -> None:
    """Delete the parts of older snapshots, and of those that were never finished."""
    for version in versions:
        for key in [info.key async for info in blobs.list(f"{name}/{version}/")]:
            await blobs.delete(key)
