"""``vectorcache collections``: what is in a blob store, and which version of it is served."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from vectorcache import Catalog, Manifest, open_blob_store
from vectorcache_tools.cli.options import (
    Blobs,
    Collection,
    Version,
    print_facts,
    print_table,
    readable_bytes,
    readable_codes,
    readable_sample,
)

T = TypeVar("T")

app = typer.Typer(
    help="Look at the collections of a blob store and choose the versions that are served.",
    no_args_is_help=True,
)


@app.command("list", epilog="Example: vectorcache collections list --blobs ./blobs")
def list_(blobs: Blobs) -> None:
    """Every collection, and the version of it that is served. Damaged ones are told apart, and end in an error."""
    found = _with_catalog(blobs, lambda catalog: catalog.served())
    columns = ("collection", "version", "vectors", "dim", "metric", "chunks", "size", "built")
    print_table(columns, (_row(manifest) for manifest in found.manifests))
    for name, error in found.unreadable.items():
        typer.echo(f"{name}: {error}", err=True)
    if found.unreadable:
        raise typer.Exit(1)


@app.command(epilog="Example: vectorcache collections show words --blobs ./blobs")
def show(collection: Collection, blobs: Blobs, version: Version = None) -> None:
    """What a version is made of, and what its searches find and cost."""
    manifest = _with_catalog(blobs, lambda catalog: catalog.manifest(collection, version))
    print_facts(
        [
            ("version", manifest.version),
            ("vectors", f"{manifest.vectors:,} x {manifest.dimension}, {manifest.metric}"),
            ("ids", manifest.id_type),
            ("payload", ", ".join(f"{one.name}: {one.type}" for one in manifest.payload) or "none"),
            ("cells", manifest.cells),
            ("chunks", f"{len(manifest.chunks):,}, {_size(manifest)}"),
            ("rows", f"{manifest.rows:,}, {manifest.rows / manifest.vectors:.2f} for each vector"),
            ("codes", readable_codes(manifest.codes)),
            ("built", f"{manifest.built_at}, in {manifest.build_seconds:.1f} s"),
        ],
        title=f"collection {manifest.collection}",
    )
    chosen = manifest.search.nprobe
    print_table(
        ("nprobe", "recall@10", "exact", "scanned", ""),
        (
            (
                point.nprobe,
                f"{point.recall:.4f}",
                f"{point.exact_recall:.4f}",
                f"{point.scanned:.2%}",
                "default" if point.nprobe == chosen else "",
            )
            for point in manifest.search.curve
        ),
        title=f"measured on {readable_sample(manifest.search)}",
    )


@app.command(epilog="Example: vectorcache collections versions words --blobs ./blobs")
def versions(collection: Collection, blobs: Blobs) -> None:
    """Every version of a collection, oldest first."""
    found = _with_catalog(blobs, lambda catalog: catalog.versions(collection))
    print_table(
        ("version", "complete", "served", "pinned"),
        ((one.version, one.complete, one.current, one.pinned) for one in found),
    )


@app.command(epilog="Example: vectorcache collections pin words 3 --blobs ./blobs")
def pin(collection: Collection, version: Annotated[int, typer.Argument()], blobs: Blobs) -> None:
    """Keep a version, whatever delete-old would do."""
    _with_catalog(blobs, lambda catalog: catalog.pin(collection, version))
    typer.echo(f"{collection}: version {version} is pinned")


@app.command(epilog="Example: vectorcache collections unpin words 3 --blobs ./blobs")
def unpin(collection: Collection, version: Annotated[int, typer.Argument()], blobs: Blobs) -> None:
    """Let delete-old take a version again."""
    _with_catalog(blobs, lambda catalog: catalog.unpin(collection, version))
    typer.echo(f"{collection}: version {version} is not pinned")


@app.command(epilog="Example: vectorcache collections rollback words --blobs ./blobs")
def rollback(
    collection: Collection,
    blobs: Blobs,
    version: Annotated[int | None, typer.Argument(show_default="the one before the one served now")] = None,
) -> None:
    """Serve another version."""
    served = _with_catalog(blobs, lambda catalog: catalog.roll_back(collection, version))
    typer.echo(f"{collection}: version {served} is served")


@app.command(
    "delete-old", epilog="Example: vectorcache collections delete-old words --keep 2 --blobs ./blobs"
)
def delete_old(
    collection: Collection,
    blobs: Blobs,
    keep: Annotated[int, typer.Option(help="How many of the newest versions stay.")] = 2,
    unfinished: Annotated[
        bool,
        typer.Option("--unfinished", help="Delete versions of failed builds too; no build may be running."),
    ] = False,
) -> None:
    """Delete old versions; the one that is served and pinned ones stay."""
    gone = _with_catalog(blobs, lambda catalog: catalog.delete_old(collection, keep, unfinished=unfinished))
    typer.echo(f"{collection}: deleted {', '.join(f'version {one}' for one in gone) or 'nothing'}")


@app.command(epilog="Example: vectorcache collections verify words --blobs ./blobs")
def verify(collection: Collection, blobs: Blobs, version: Version = None) -> None:
    """Read every blob of a version and compare its checksum."""
    read = _with_catalog(blobs, lambda catalog: catalog.verify(collection, version))
    typer.echo(f"{collection}: {readable_bytes(read)} read, all as they were written")


def _with_catalog(blobs: str, work: Callable[[Catalog], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_blob_store(blobs, os.environ) as store:
            return await work(Catalog(store))

    return asyncio.run(run())


def _row(manifest: Manifest) -> tuple[object, ...]:
    return (
        manifest.collection,
        manifest.version,
        manifest.vectors,
        manifest.dimension,
        manifest.metric,
        len(manifest.chunks),
        _size(manifest),
        manifest.built_at.partition("T")[0],
    )


def _size(manifest: Manifest) -> str:
    return readable_bytes(sum(chunk.bytes for chunk in manifest.chunks))
