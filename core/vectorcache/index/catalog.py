"""The versions of collections in a blob store: list, publish, roll back, pin, verify and delete them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from vectorcache.concurrency import each_of
from vectorcache.errors import Conflict, CorruptData, InvalidInput, NotFound
from vectorcache.index.manifest import (
    Current,
    Manifest,
    check_collection,
    claim_key,
    current_key,
    decode_manifest,
    encode_manifest,
    manifest_key,
    version_prefix,
)
from vectorcache.stores.base import BlobStore
from vectorcache.stores.checksum import check

_SWAP_TRIES = 16  # each lost race means that another writer succeeded
_READS = 16  # concurrent reads when all collections are read


class VersionInfo(NamedTuple):
    """A version of a collection. ``complete`` is False while its build runs, and after a build that failed."""

    version: int
    complete: bool
    current: bool
    pinned: bool


class Served(NamedTuple):
    """The manifests of the served versions, and the errors of the collections whose manifest cannot be read."""

    manifests: list[Manifest]
    unreadable: dict[str, CorruptData]


class Catalog:
    """The collections of a blob store and their versions. Stateless, so any number of catalogs may run at once."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    async def collections(self) -> list[str]:
        """Return the sorted names of the collections that have a published version."""
        names = await self._blobs.list_folders()
        heads = await each_of(lambda name: self._blobs.head(f"{name}/current.json"), names, _READS)
        return [name for name, head in zip(names, heads, strict=True) if head is not None]

    async def served(self) -> Served:
        """Return the served version of every collection. A damaged one does not hide the others."""
        names = await self.collections()
        found = dict(zip(names, await each_of(self._manifest_or_error, names, _READS), strict=True))
        return Served(
            [one for one in found.values() if isinstance(one, Manifest)],
            {name: one for name, one in found.items() if isinstance(one, CorruptData)},
        )

    async def current(self, collection: str) -> int:
        """Return the number of the served version. Raises ``NotFound`` if the collection does not exist."""
        return (await self._pointer(collection))[0].version

    async def manifest(self, collection: str, version: int | None = None) -> Manifest:
        """Return the manifest of a version, by default of the served one.

        Raises:
            NotFound: the collection does not exist, or the version is not published.
        """
        if version is None:
            version = await self.current(collection)
        key = manifest_key(collection, version)
        try:
            blob = await self._blobs.get(key)
        except NotFound as error:
            raise NotFound("version", f"{collection}/v{version}") from error
        return decode_manifest(blob.data, key)

    async def _manifest_or_error(self, collection: str) -> Manifest | CorruptData | None:
        """Return the served manifest, or the error if it is damaged, or None if it was deleted in the meantime."""
        missing = 0
        while True:
            try:
                version = await self.current(collection)
                if version == missing:
                    return CorruptData(f"pointer of {collection!r} names v{version}, which has no manifest")
                return await self.manifest(collection, missing := version)
            except CorruptData as error:
                return error
            except NotFound as error:
                if error.kind == "collection":
                    return None

    async def versions(self, collection: str) -> list[VersionInfo]:
        """Return every version, oldest first. One without a manifest is being built, or its build failed."""
        pointer = await self._pointer_or_none(collection)
        current, pinned = (pointer[0].version, pointer[0].pinned) if pointer else (0, ())
        return [
            VersionInfo(
                version=number,
                complete=await self._blobs.head(manifest_key(collection, number)) is not None,
                current=number == current,
                pinned=number in pinned,
            )
            for number in await self._numbers(collection)
        ]

    async def claim(self, collection: str, claim: bytes) -> int:
        """Claim and return the next free version number for a build. Two builds never get the same one."""
        number = max(await self._numbers(collection), default=0)
        for _ in range(_SWAP_TRIES):
            number += 1
            try:
                await self._blobs.put(claim_key(collection, number), claim, if_absent=True)
            except Conflict:
                continue
            return number
        raise Conflict(f"collection {collection!r}: {_SWAP_TRIES} other builds claimed the next numbers")

    async def publish(self, manifest: Manifest) -> bool:
        """Write the manifest and serve this version, unless a newer one is already served. Return whether it is served.

        The pointer moves by compare-and-swap, and only forward. So of two builds the one that claimed its number later
        is served, in whatever order they end.
        """
        collection, version = manifest.collection, manifest.version
        key = manifest_key(collection, version)
        await self._blobs.put(key, encode_manifest(manifest), if_absent=True)
        pointer = await self._swap(
            collection, lambda now: Current(version, now.pinned) if version > now.version else now
        )
        return pointer.version == version

    async def roll_back(self, collection: str, version: int | None = None) -> int:
        """Serve another published version, by default the newest one before the served one. Return its number."""
        if version is None:
            version = await self._previous(collection)
        await self.manifest(collection, version)
        await self._swap(collection, lambda now: Current(version, now.pinned))
        return version

    async def pin(self, collection: str, version: int) -> None:
        """Exclude a version from ``delete_old``."""
        await self.manifest(collection, version)
        await self._swap(collection, lambda now: Current(now.version, tuple(sorted({*now.pinned, version}))))

    async def unpin(self, collection: str, version: int) -> None:
        """Allow ``delete_old`` to delete a version again."""
        await self._swap(
            collection, lambda now: Current(now.version, tuple(sorted({*now.pinned} - {version})))
        )

    async def delete_old(self, collection: str, keep: int = 2, *, unfinished: bool = False) -> list[int]:
        """Delete all but the newest ``keep`` published versions. Return the numbers of the deleted ones.

        The served version and pinned versions are kept. Versions without a manifest are kept too, because a build
        may be writing them; ``unfinished`` deletes them, so no build may be running.
        """
        if keep < 1:
            raise InvalidInput("keep", keep, "at least 1")
        versions = await self.versions(collection)
        complete = [info for info in versions if info.complete]
        obsolete = [info for info in complete[:-keep] if not (info.current or info.pinned)]
        obsolete += [info for info in versions if unfinished and not info.complete]
        for info in obsolete:
            await self._delete_version(collection, info.version)
        return sorted(info.version for info in obsolete)

    async def verify(self, collection: str, version: int | None = None) -> int:
        """Read every blob of a version and compare its checksum. Return the number of bytes read.

        Raises:
            CorruptData: a blob differs; the message names the first one.
            NotFound: a blob is missing; the message names the first one.
        """
        manifest = await self.manifest(collection, version)
        expected = {manifest.centroids_key: manifest.centroids.checksum}
        expected |= {manifest.chunk_key(n): chunk.checksum for n, chunk in enumerate(manifest.chunks)}
        expected |= {manifest.lookup_key(n): shard.checksum for n, shard in enumerate(manifest.lookup)}
        total = 0
        for key, wanted in expected.items():
            data = (await self._blobs.get(key)).data
            check(data, wanted, key)
            total += len(data)
        return total

    async def _delete_version(self, collection: str, version: int) -> None:
        # The manifest is deleted first: without it the version does not exist, so no reader opens a part of it.
        await self._blobs.delete(manifest_key(collection, version))
        keys = [blob.key async for blob in self._blobs.list(version_prefix(collection, version))]
        for key in keys:
            await self._blobs.delete(key)

    async def _previous(self, collection: str) -> int:
        current = await self.current(collection)
        older = [v.version for v in await self.versions(collection) if v.complete and v.version < current]
        if not older:
            raise NotFound("version", f"{collection} before v{current}")
        return max(older)

    async def _numbers(self, collection: str) -> list[int]:
        folders = await self._blobs.list_folders(f"{check_collection(collection)}/")
        return sorted(int(name[1:]) for name in folders if name[:1] == "v" and name[1:].isdecimal())

    async def _swap(self, collection: str, change: Callable[[Current], Current]) -> Current:
        """Change the pointer by compare-and-swap, and try again if another writer was faster."""
        for _ in range(_SWAP_TRIES):
            found = await self._pointer_or_none(collection)
            now, etag = found if found else (Current(version=0), None)
            wanted = change(now)
            if wanted == now:
                return now
            data = msgspec.json.encode(wanted)
            try:
                await self._blobs.put(current_key(collection), data, if_match=etag, if_absent=etag is None)
            except Conflict:
                continue
            return wanted
        raise Conflict(f"collection {collection!r}: its pointer changed {_SWAP_TRIES} times in a row")

    async def _pointer(self, collection: str) -> tuple[Current, str]:
        found = await self._pointer_or_none(collection)
        if found is None:
            raise NotFound("collection", collection)
        return found

    async def _pointer_or_none(self, collection: str) -> tuple[Current, str] | None:
        key = current_key(collection)
        try:
            blob = await self._blobs.get(key)
        except NotFound:
            return None
        try:
            return msgspec.json.decode(blob.data, type=Current), blob.etag
        except msgspec.MsgspecError as error:
            raise CorruptData(f"pointer {key!r} does not decode: {error}") from error
