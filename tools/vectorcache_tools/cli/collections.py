"""``vectorcache collections``: list and manage the collections in a blob store, and their versions."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeAlias, TypeVar

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
Number: TypeAlias = Annotated[int, typer.Argument(help="Number of the version.")]

app = typer.Typer(
    help="List the collections of a blob store, and manage their versions.",
    no_args_is_help=True,
)


@app.command("list", epilog="Example: vectorcache collections list --blobs ./blobs")
def list_(blobs: Blobs) -> None:
    """List all collections and their served versions.

    Corrupt collections are reported on standard error, and the exit code is then 1.
    """
    found = _with_catalog(blobs, lambda catalog: catalog.served())
    columns = ("collection", "version", "vectors", "dim", "metric", "chunks", "size", "built")
    print_table(columns, (_row(manifest) for manifest in found.manifests))
    for name, error in found.unreadable.items():
        typer.echo(f"{name}: {error}", err=True)
    if found.unreadable:
        raise typer.Exit(1)


@app.command(epilog="Example: vectorcache collections show words --blobs ./blobs")
def show(collection: Collection, blobs: Blobs, version: Version = None) -> None:
    """Show the contents of a version, and the measured recall and cost of its searches."""
    manifest = _with_catalog(blobs, lambda catalog: catalog.manifest(collection, version))
    print_facts(
        [
            ("version", manifest.version),
            ("vectors", f"{manifest.vectors:,} x {manifest.dimension}, {manifest.metric}"),
            ("ids", manifest.id_type),
            ("payload", ", ".join(f"{one.name}: {one.type}" for one in manifest.payload) or "none"),
            ("cells", manifest.cells),
            ("chunks", f"{len(manifest.chunks):,}, {_size(manifest)}"),
            ("rows", f"{manifest.rows:,}, {manifest.rows / manifest.vectors:.2f} per vector"),
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
    """List the versions of a collection, oldest first."""
    found = _with_catalog(blobs, lambda catalog: catalog.versions(collection))
    print_table(
        ("version", "complete", "served", "pinned"),
        ((one.version, one.complete, one.current, one.pinned) for one in found),
    )


@app.command(epilog="Example: vectorcache collections pin words 3 --blobs ./blobs")
def pin(collection: Collection, version: Number, blobs: Blobs) -> None:
    """Protect a version from delete-old."""
    _with_catalog(blobs, lambda catalog: catalog.pin(collection, version))
    typer.echo(f"{collection}: version {version} is pinned")


@app.command(epilog="Example: vectorcache collections unpin words 3 --blobs ./blobs")
def unpin(collection: Collection, version: Number, blobs: Blobs) -> None:
    """Allow delete-old to delete a version again."""
    _with_catalog(blobs, lambda catalog: catalog.unpin(collection, version))
    typer.echo(f"{collection}: version {version} is no longer pinned")


@app.command(epilog="Example: vectorcache collections rollback words --blobs ./blobs")
def rollback(
    collection: Collection,
    blobs: Blobs,
    version: Annotated[
        int | None,
        typer.Argument(help="Number of the version.", show_default="the version before the served one"),
    ] = None,
) -> None:
    """Serve the previous version, or a given one."""
    served = _with_catalog(blobs, lambda catalog: catalog.roll_back(collection, version))
    typer.echo(f"{collection}: version {served} is now served")


@app.command(
    "delete-old", epilog="Example: vectorcache collections delete-old words --keep 2 --blobs ./blobs"
)
def delete_old(
    collection: Collection,
    blobs: Blobs,
    keep: Annotated[int, typer.Option(help="Number of newest versions to keep.")] = 2,
    unfinished: Annotated[
        bool,
        typer.Option(
            "--unfinished", help="Also delete versions of failed builds. No build may be running meanwhile."
        ),
    ] = False,
) -> None:
    """Delete old versions, except the served version and pinned versions."""
    deleted = _with_catalog(
        blobs, lambda catalog: catalog.delete_old(collection, keep, unfinished=unfinished)
    )
    typer.echo(f"{collection}: deleted {', '.join(f'version {one}' for one in deleted) or 'nothing'}")


@app.command(epilog="Example: vectorcache collections verify words --blobs ./blobs")
def verify(collection: Collection, blobs: Blobs, version: Version = None) -> None:
    """Read every blob of a version and verify its checksum."""
    read = _with_catalog(blobs, lambda catalog: catalog.verify(collection, version))
    typer.echo(f"{collection}: {readable_bytes(read)} read, all checksums match")


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
