"""A manifest for tests that need no blobs."""

from __future__ import annotations

from vectorcache.index.manifest import (
    BlobRef,
    Calibration,
    ChunkInfo,
    Codes,
    Manifest,
    PayloadColumn,
    Tradeoff,
)


def make_manifest(cells: tuple[int, ...] = (2, 1, 3)) -> Manifest:
    """Version 7 of words, with so many cells in each chunk."""
    firsts = [sum(cells[:at]) for at in range(len(cells))]
    return Manifest(
        collection="words",
        version=7,
        metric="cosine",
        dimension=50,
        vectors=100,
        rows=110,
        cells=sum(cells),
        id_type="string",
        payload=(PayloadColumn("text", "string"),),
        chunks=tuple(
            ChunkInfo(first, count, 10, 1000, "ab") for first, count in zip(firsts, cells, strict=True)
        ),
        centroids=BlobRef(10, "cd"),
        lookup=(BlobRef(20, "ef"),),
        codes=Codes(bits=4, deviations=2.5, centre=bytes(200)),
        search=Calibration(
            2,
            0.95,
            10,
            40,
            (Tradeoff(1, 0.5, 0.51, 0.1), Tradeoff(2, 0.96, 0.97, 0.2), Tradeoff(6, 1.0, 1.0, 1.1)),
        ),
        built_at="2026-01-01T00:00:00+00:00",
        build_seconds=1.5,
    )
