"""``vectorcache build``: build and publish a version of a collection from a file of vectors."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from vectorcache import BuildResult, BuildSettings, Columns, build_collection, open_blob_store, progress_bars
from vectorcache.index.sources import FORMATS
from vectorcache_tools.cli.options import print_facts, readable_bytes, readable_codes, readable_sample

EXAMPLE = "Example: vectorcache build words.npy --to ./blobs --collection words --attributes words.parquet"


def build(
    source: Annotated[Path, typer.Argument(help=f"File with the vectors: {FORMATS}.", show_default=False)],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            envvar="VECTORCACHE_BLOB_URL",
            help="URL of the blob store: azure://account/container/prefix, file:///path, or a path.",
        ),
    ],
    collection: Annotated[
        str, typer.Option(help="Name of the collection. It is created if it does not exist.")
    ],
    metric: Annotated[str, typer.Option(help="Distance: euclidean, cosine or dot.")] = "euclidean",
    cells: Annotated[
        int | None, typer.Option(help="Number of cells.", show_default="3 sqrt(vectors)")
    ] = None,
    chunk_bytes: Annotated[int, typer.Option(help="Target size of a chunk.")] = BuildSettings().chunk_bytes,
    cells_per_chunk: Annotated[
        int | None,
        typer.Option(help="Maximum number of cells in a chunk.", show_default="as many as fit"),
    ] = None,
    recall: Annotated[
        float, typer.Option(help="Recall@10 that searches should reach by default.")
    ] = BuildSettings().recall_target,
    codes: Annotated[
        str,
        typer.Option(help="Bits per component of the quantized codes: 1, 2, 4, none or auto."),
    ] = BuildSettings().codes,
    attributes: Annotated[
        Path | None, typer.Option(help="Parquet or Arrow file with ids and payload, one row per vector.")
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="File with a sample of the expected queries, used to measure recall.",
            show_default="vectors of the collection",
        ),
    ] = None,
    id_column: Annotated[str, typer.Option(help="Name of the column with the ids.")] = Columns().id,
    vector_column: Annotated[
        str, typer.Option(help="Name of the column with the vectors.")
    ] = Columns().vector,
) -> None:
    """Build a new version of a collection and publish it, so that it is served."""
    settings = BuildSettings(
        metric=metric,
        cells=cells,
        chunk_bytes=chunk_bytes,
        cells_per_chunk=cells_per_chunk,
        recall_target=recall,
        codes=codes,
    )
    columns = Columns(id=id_column, vector=vector_column)
    print_result(asyncio.run(_build(to, collection, source, settings, columns, attributes, queries)))


async def _build(
    to: str,
    collection: str,
    source: Path,
    settings: BuildSettings,
    columns: Columns,
    attributes: Path | None,
    queries: Path | None,
) -> BuildResult:
    async with open_blob_store(to, os.environ) as blobs:
        with progress_bars() as progress:
            return await build_collection(
                blobs,
                collection,
                source,
                settings,
                columns=columns,
                attributes=attributes,
                queries=queries,
                progress=progress,
            )


def print_result(result: BuildResult) -> None:
    """Print a summary of the built version on standard output."""
    manifest = result.manifest
    measured = {point.nprobe: point for point in manifest.search.curve}[manifest.search.nprobe]
    print_facts(
        [
            ("version", manifest.version),
            ("served", "yes" if result.published else "no: a newer version is already served"),
            ("vectors", f"{manifest.vectors:,} x {manifest.dimension}, {manifest.metric}"),
            ("cells", manifest.cells),
            ("chunks", len(manifest.chunks)),
            ("size", readable_bytes(sum(chunk.bytes for chunk in manifest.chunks))),
            ("codes", readable_codes(manifest.codes)),
            ("nprobe", manifest.search.nprobe),
            ("recall@10", f"{measured.recall:.3f}, of {readable_sample(manifest.search)}"),
            ("scanned", f"{measured.scanned:.1%} of the vectors per search"),
            ("seconds", round(manifest.build_seconds, 1)),
        ],
        title=f"collection {manifest.collection}",
    )
