"""``vectorcache search``: find the neighbours of vectors given by a file, standard input, or ids."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer
from numpy.typing import ArrayLike

from vectorcache import InvalidInput, NotFound
from vectorcache.wire import public
from vectorcache_client.client import AsyncClient
from vectorcache_tools.cli.options import Collection, RouterUrl, Version, print_table

EXAMPLE = "Examples: vectorcache search words --id king -k 5; echo '[0.1, 0.2]' | vectorcache search words -"


def search(
    collection: Collection,
    vector: Annotated[
        str | None,
        typer.Argument(
            help="File (.npy or .json) with one or more vectors, or - for JSON on standard input."
        ),
    ] = None,
    ids: Annotated[
        list[str] | None,
        typer.Option(
            "--id", help="Id of a vector in the collection to use as the query. May be given several times."
        ),
    ] = None,
    router: RouterUrl = "http://127.0.0.1:8100",
    k: Annotated[
        int | None, typer.Option("-k", help="Number of neighbours.", show_default="set by the router")
    ] = None,
    nprobe: Annotated[
        int | None, typer.Option(help="Number of cells to probe.", show_default="measured by the build")
    ] = None,
    recall: Annotated[
        float | None, typer.Option(help="Recall@10 to reach. Cannot be combined with --nprobe.")
    ] = None,
    version: Version = None,
    payload: Annotated[bool, typer.Option("--payload", help="Print the payload of the neighbours.")] = False,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Compare all vectors of the probed cells instead of quantized codes."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the response as JSON.")] = False,
) -> None:
    """Find the nearest neighbours of one or more vectors."""
    if (vector is None) == (ids is None):
        raise InvalidInput("VECTOR", vector, "exactly one of: a file, -, or --id")
    given = None if vector is None else _read(vector)

    async def ask() -> public.SearchResponse:
        async with AsyncClient(router) as client:
            queries = given if given is not None else await _by_ids(client, collection, ids or [], version)
            return await client.search(
                collection,
                queries,
                k,
                nprobe=nprobe,
                recall=recall,
                version=version,
                payload=payload,
                exact=exact,
            )

    found = asyncio.run(ask())
    if json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        _print(found, ids)


def _read(source: str) -> ArrayLike:
    """Return one or more vectors from a file or standard input."""
    try:
        if source.endswith(".npy"):
            return np.asarray(np.load(source, allow_pickle=False))
        text = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return np.asarray(msgspec.json.decode(text, type=list[float | list[float]]), dtype=np.float64)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise InvalidInput("VECTOR", source, f"a .npy or .json file with numbers, or - ({error})") from error


async def _by_ids(client: AsyncClient, collection: str, ids: list[str], version: int | None) -> ArrayLike:
    """Return vectors by id. Ids are text on the command line, and are sent as numbers if the collection has these."""
    try:
        found = await client.vectors(collection, ids, version=version)
    except InvalidInput:
        if not all(one.lstrip("-").isdecimal() for one in ids):
            raise
        found = await client.vectors(collection, [int(one) for one in ids], version=version)
    if found.missing:
        raise NotFound("id", str(found.missing[0]))
    return [item.vector for item in found.vectors]


def _print(found: public.SearchResponse, ids: list[str] | None) -> None:
    for place, result in enumerate(found.results):
        query = ids[place] if ids else f"query {place + 1}"
        payloads = [hit.payload or {} for hit in result.hits]
        names = list(dict.fromkeys(name for payload in payloads for name in payload))
        rows = (
            (rank, str(hit.id), f"{hit.distance:.6g}", *(payload.get(name, "") for name in names))
            for rank, (hit, payload) in enumerate(zip(result.hits, payloads, strict=True), 1)
        )
        several = len(found.results) > 1
        print_table(("", "id", "distance", *names), rows, title=query if several else None)
    if found.partial:
        typer.echo(f"partial result: only {found.searched:.0%} of the cells were searched", err=True)
