"""The build of a collection: compute its layout, write its blobs, and publish them as one version.

Readers see nothing of a build before its last step. A build that fails or is killed leaves a claimed version
without a manifest. No reader opens such a version, and ``Catalog.delete_old`` removes it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vectorcache.concurrency import all_of
from vectorcache.errors import InvalidInput
from vectorcache.index.calibrate import calibrate, exact_neighbours, fit_bounds, hold_out
from vectorcache.index.catalog import Catalog
from vectorcache.index.chunk import Header, chunk_table, encode_chunk
from vectorcache.index.coarse import encode_centroids
from vectorcache.index.layout import BuildSettings, Layout, lay_out
from vectorcache.index.lookup import LookupCodec, make_shards
from vectorcache.index.manifest import (
    BlobRef,
    Calibration,
    ChunkInfo,
    Codes,
    Manifest,
    PayloadColumn,
    check_collection,
    chunk_key,
    lookup_key,
    version_prefix,
)
from vectorcache.index.progress import Progress, Silence
from vectorcache.index.sources import Columns, Input, Source, check_payload, open_source
from vectorcache.stores.base import BlobStore
from vectorcache.stores.checksum import checksum
from vectorcache.vectors.codes import Coder, bits_for, section
from vectorcache.vectors.exact import ExactVectorSearch
from vectorcache.vectors.metric import SMALLEST_NORM, Floats, comparable, row_norms

_UPLOADS = 8  # chunks that are encoded or written at the same time
_READ_BYTES = 64 << 20  # bytes of vectors that are read at a time, for several chunks
_CALIBRATION_CELLS = 1 << 24  # queries x cells: the size of the few arrays that calibration holds


class BuildResult(NamedTuple):
    """The version that was built. ``published`` is False if a newer version was already served when it was done."""

    manifest: Manifest
    published: bool


async def build_collection(
    blobs: BlobStore,
    collection: str,
    data: Input,
    settings: BuildSettings | None = None,
    *,
    columns: Columns | None = None,
    attributes: str | Path | pa.Table | None = None,
    queries: Input | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> BuildResult:
    """Build a new version of a collection and serve it from now on.

    Args:
        blobs: the store to write to.
        collection: its name; the first build creates the collection.
        data: the vectors. See ``open_source`` for this argument, ``columns`` and ``attributes``.
        settings: the layout.
        queries: sample of the expected queries, to measure recall on, in any form that ``data`` may have. None
            takes vectors of the collection. Queries that differ from the vectors, as questions differ from the
            passages that answer them, reach a lower recall at the same ``nprobe``.
        progress: receives the progress of the build; see ``progress_bars``.
        clock: returns seconds, for the build time in the manifest.

    Raises:
        InvalidInput: the input or a setting is not allowed; nothing was written.
        Unavailable: the blob store failed; no reader sees what was written.
    """
    settings = settings or BuildSettings()
    progress = progress or Silence()
    check_collection(collection)
    started = clock()
    with tempfile.TemporaryDirectory(prefix="vectorcache-build-") as folder:
        progress.stage("reading", 1)
        source = await asyncio.to_thread(
            open_source, data, Path(folder), columns=columns, attributes=attributes
        )
        check_payload(source.payload)
        sample = await asyncio.to_thread(_sample, source, settings, queries, Path(folder))
        version = await Catalog(blobs).claim(collection, msgspec.json.encode(asdict(settings)))
        layout = await asyncio.to_thread(lay_out, source, settings, progress)
        coder = _coder(layout, settings)
        search, codes = await asyncio.to_thread(_measure, source, layout, coder, sample, settings, progress)
        writer = _Writer(blobs, version_prefix(collection, version), source, layout, coder, settings)
        manifest = Manifest(
            collection=collection,
            version=version,
            metric=settings.metric,
            dimension=source.vectors.shape[1],
            vectors=len(source.vectors),
            rows=len(layout.copies.rows),
            cells=len(layout.centroids),
            id_type="int64" if pa.types.is_integer(source.ids.type) else "string",
            payload=_payload_columns(source),
            chunks=await writer.chunks(progress),
            centroids=await writer.centroids(),
            lookup=await writer.lookup(progress),
            codes=codes,
            search=search,
            built_at=datetime.now(UTC).isoformat(timespec="seconds"),
            build_seconds=round(clock() - started, 3),
        )
        published = await Catalog(blobs).publish(manifest)
    return BuildResult(manifest, published)


def _coder(layout: Layout, settings: BuildSettings) -> Coder | None:
    """Return the coder, or None if the settings ask for no codes."""
    bits = bits_for(settings.codes, layout.centroids.shape[1])
    if bits is None:
        return None
    return Coder(bits, settings.metric, layout.centroids.mean(axis=0, dtype=np.float64).astype(np.float32))


class _Sample(NamedTuple):
    """Queries (b, d) float32, the row of each among the vectors (b,) or -1, and their kind."""

    queries: Floats
    own: NDArray[np.int64]
    kind: str


def _sample(source: Source, settings: BuildSettings, given: Input | None, spool: Path) -> _Sample:
    """Return the queries that recall is measured on: the given ones, or vectors of the collection."""
    among = source if given is None else _queries(given, source.vectors.shape[1], settings.metric, spool)
    generator = np.random.default_rng(settings.seed + 1)
    count = min(settings.calibration_queries, len(among.vectors))
    chosen = np.sort(generator.choice(len(among.vectors), count, replace=False))
    queries = among.read(chosen)
    if given is None:
        return _Sample(queries, chosen, "vectors")
    return _Sample(queries, np.full(count, -1), "queries")


def _queries(given: Input, dimension: int, metric: str, spool: Path) -> Source:
    """Open the queries and check them as a search does. An ``InvalidInput`` names the field ``queries``."""
    (spool / "queries").mkdir()
    try:
        source = open_source(given, spool / "queries")
    except InvalidInput as error:
        raise InvalidInput(f"queries: {error.field}", error.value, error.allowed) from error
    vectors = source.vectors
    if vectors.shape[1] != dimension:
        raise InvalidInput("queries", f"dimension {vectors.shape[1]}", f"dimension {dimension}")
    zero = row_norms(np.asarray(vectors)) < SMALLEST_NORM
    if metric == "cosine" and zero.any():
        raise InvalidInput(f"queries[{int(zero.argmax())}]", "a zero vector", "a non-zero vector")
    return source


def _measure(
    source: Source,
    layout: Layout,
    coder: Coder | None,
    sample: _Sample,
    settings: BuildSettings,
    progress: Progress,
) -> tuple[Calibration, Codes | None]:
    """Return recall and cost by nprobe, and the codes with the width of their bounds."""
    progress.stage("measuring recall", len(source.vectors))
    count = len(source.vectors)
    most = max(16, _CALIBRATION_CELLS // len(layout.centroids))
    every = slice(None, None, -(-len(sample.own) // most))
    queries, own = np.ascontiguousarray(sample.queries[every]), sample.own[every]

    def blocks() -> Iterator[tuple[int, Floats]]:
        for start, block in source.blocks():
            yield start, comparable(block, settings.metric)
            progress.advance(len(block))

    neighbours = exact_neighbours(
        blocks(),
        comparable(queries, settings.metric),
        own,
        10,
        inner_product=settings.metric == "dot",
    )
    centroids = ExactVectorSearch(layout.centroids, settings.metric)
    held = hold_out(centroids, layout.copies, count, queries, neighbours)
    if coder is None:
        return calibrate(held, layout.copies, count, recall=settings.recall_target, sample=sample.kind), None
    deviations, lost = fit_bounds(held, coder, source.read, layout.centroids)
    search = calibrate(
        held, layout.copies, count, recall=settings.recall_target, lost=lost, sample=sample.kind
    )
    return search, Codes(coder.bits, round(deviations, 4), coder.centre.astype("<f4").tobytes())


def _payload_columns(source: Source) -> tuple[PayloadColumn, ...]:
    if source.payload is None:
        return ()
    return tuple(PayloadColumn(field.name, str(field.type)) for field in source.payload.schema)


class _Writer:
    """Writer of the blobs of one version."""

    def __init__(
        self,
        blobs: BlobStore,
        prefix: str,
        source: Source,
        layout: Layout,
        coder: Coder | None,
        settings: BuildSettings,
    ) -> None:
        self._blobs = blobs
        self._prefix = prefix
        self._source = source
        self._layout = layout
        self._coder = coder
        self._metric = settings.metric

    async def chunks(self, progress: Progress) -> tuple[ChunkInfo, ...]:
        """Encode and write every chunk, several at a time."""
        progress.stage("writing chunks", len(self._layout.chunk_cells))
        gate = asyncio.Semaphore(_UPLOADS)

        async def write(number: int, vectors: Floats) -> ChunkInfo:
            async with gate:
                info, data = await asyncio.to_thread(self._encode, number, vectors)
                await self._blobs.put(chunk_key(self._prefix, number, info.checksum), data)
                progress.advance()
                return info

        written: list[ChunkInfo] = []
        for group in self._groups():
            first, stop = self._rows_of(group[0])[0], self._rows_of(group[-1])[1]
            vectors = await asyncio.to_thread(self._source.read, self._layout.copies.rows[first:stop])
            parts = [slice(*(row - first for row in self._rows_of(number))) for number in group]
            written += await all_of(
                [write(number, vectors[part]) for number, part in zip(group, parts, strict=True)]
            )
        return tuple(written)

    def _groups(self) -> list[list[int]]:
        """Return groups of consecutive chunks whose vectors are read together: small reads of a large file are slow."""
        size = 4 * self._source.vectors.shape[1]
        numbers = range(len(self._layout.chunk_cells))
        return [
            list(group)
            for _, group in groupby(numbers, lambda number: self._rows_of(number)[0] * size // _READ_BYTES)
        ]

    def _rows_of(self, number: int) -> tuple[int, int]:
        """Return the begin and the end of a chunk's rows among the copies."""
        first, stop = self._layout.chunk_cells[number]
        return int(self._layout.cell_offsets[first]), int(self._layout.cell_offsets[stop])

    async def centroids(self) -> BlobRef:
        """Write the centroids."""
        return await self._put(f"{self._prefix}centroids.arrow", encode_centroids(self._layout.centroids))

    async def lookup(self, progress: Progress) -> tuple[BlobRef, ...]:
        """Write the shards of the id lookup."""
        progress.stage("writing id lookup", 1)
        shards = await asyncio.to_thread(self._encode_lookup)
        return tuple(
            [
                await self._put(lookup_key(self._prefix, number, checksum(data)), data)
                for number, data in enumerate(shards)
            ]
        )

    async def _put(self, key: str, data: bytes) -> BlobRef:
        await self._blobs.put(key, data)
        return BlobRef(bytes=len(data), checksum=checksum(data))

    def _encode(self, number: int, vectors: Floats) -> tuple[ChunkInfo, bytes]:
        first, stop = self._layout.chunk_cells[number]
        offsets = self._layout.cell_offsets[first : stop + 1]
        rows = self._layout.copies.rows[offsets[0] : offsets[-1]]
        picked = pa.array(rows)
        payload = self._source.payload.take(picked) if self._source.payload is not None else None
        ids = self._source.ids.take(picked).combine_chunks()
        codes = None
        if self._coder is not None:
            centroids = self._layout.centroids[first:stop]
            encoded = self._coder.encode(
                vectors, centroids, np.repeat(np.arange(stop - first), np.diff(offsets))
            )
            codes = section(encoded, centroids)
        header = Header(
            metric=self._metric,
            first_cell=first,
            offsets=(offsets - offsets[0]).tolist(),
            code_width=self._coder.width if self._coder is not None else 0,
        )
        data = encode_chunk(chunk_table(rows, ids, vectors, payload, codes), header)
        info = ChunkInfo(
            first_cell=first, cells=stop - first, rows=len(rows), bytes=len(data), checksum=checksum(data)
        )
        return info, data

    def _encode_lookup(self) -> list[bytes]:
        """Encode the shards of the id lookup, which give the first place of each vector; any copy would do."""
        layout = self._layout
        rows, first_copy = np.unique(layout.copies.rows, return_index=True)
        starts = layout.cell_offsets[[first for first, _ in layout.chunk_cells]]
        chunks = (np.searchsorted(starts, first_copy, side="right") - 1).astype(np.int32)
        positions = (first_copy - starts[chunks]).astype(np.int32)
        ids = self._source.ids.combine_chunks()
        codec = LookupCodec()
        shards = make_shards(ids.take(pa.array(rows)), chunks, positions)
        return [codec.encode("", shard) for shard in shards]
