"""A collection behind a real router and real nodes, searched as an index."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from tests.support.llm.clock import FakeClock
from tests.support.llm.index_contract import DIMENSION, FINGERPRINT, HERE, entry, ids, near, same, vectors

from vectorcache import BuildSettings, FolderBlobStore, build_collection
from vectorcache.errors import InvalidInput, Unavailable
from vectorcache_client import AsyncClient
from vectorcache_llm.errors import FingerprintMismatch, Unsupported
from vectorcache_llm.scope import EVERYBODY, Scope, Selection
from vectorcache_llm.similarity import Match, RouterIndex, collection_table
from vectorcache_llm.similarity.base import IndexEntry, Partition
from vectorcache_tools.local import LocalCluster, LocalSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"cells": 8, "cells_per_chunk": 2, "calibration_queries": 20}
QUIET = Partition(Scope("quiet", "u|v", "n"), "context")
CLOCK = FakeClock()


def entries() -> list[IndexEntry]:
    """Many entries, one entry of another partition behind them, and some that expire or are zeros."""
    crowd = [entry(f"{number}", row) for number, row in enumerate(vectors(600))]
    query = vectors(1)[0]
    hidden = entry(
        "hidden",
        near(query, 0.1),
        QUIET,
        payload=bytes(range(256)),
        text="What? 🙂",
        expires_at=CLOCK() + 10,
        tags=frozenset({"a", "b"}),
        metadata={"k": "ä"},
    )
    return [*crowd, hidden, entry("zeros", np.zeros(DIMENSION, dtype=np.float32))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blobs")

    async def build() -> None:
        async with FolderBlobStore(folder) as blobs:
            for metric in ("cosine", "euclidean", "dot"):
                table = collection_table(entries(), FINGERPRINT)
                await build_collection(blobs, metric, table, BuildSettings(metric=metric, **SETTINGS))  # type: ignore[arg-type]
            await build_collection(blobs, "plain", vectors(300), BuildSettings(**SETTINGS))  # type: ignore[arg-type]

    asyncio.run(build())
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    data = tmp_path_factory.mktemp("data")
    settings = LocalSettings(str(folder), data, nodes=1, memory="16Mi", disk="64Mi")
    async with LocalCluster(settings, os.environ) as cluster:
        yield cluster.router_url


def index(url: str | AsyncClient, collection: str = "cosine", dimension: int = DIMENSION) -> RouterIndex:
    return RouterIndex(url, collection, FINGERPRINT, dimension, recall=1.0, deadline=10.0, clock=CLOCK)


async def test_a_collection_is_an_index(url: str) -> None:
    rows, query = vectors(600), vectors(1)[0]
    truth = {f"{number}": float(row @ query) for number, row in enumerate(rows)}
    expected = sorted(truth, key=lambda one: -truth[one])[:3]
    for metric in ("cosine", "euclidean", "dot"):
        async with index(url, metric) as router:
            found = await router.search(HERE, query, 3)
            assert ids(found) == expected
            assert [match.similarity for match in found] == pytest.approx(
                [truth[one] for one in expected], abs=1e-5
            )
            [hidden] = await router.search(QUIET, query, 1, 0.05)  # behind hundreds of nearer ones
            assert same(hidden.entry, entries()[600])
            assert await router.search(QUIET, query, 1, 0.5) == []
            assert await router.search(Partition(Scope("quiet")), query) == []
            assert await router.search(HERE, np.zeros(DIMENSION, dtype=np.float32)) == []
            assert len(await router.search(HERE, query, 601, -1.0)) == 600


async def test_entries_are_found_by_id_until_they_expire(url: str) -> None:
    async with index(url) as router:
        assert same(await router.get(QUIET.scope, "hidden"), entries()[600])
        assert await router.get(EVERYBODY, "hidden") is None
        assert await router.get(EVERYBODY, "zeros") is None
        found = await router.lookup("7", HERE, vectors(1)[0])
        assert found.entry is not None
        assert found.entry.id == "7"
        stats = await router.stats()
        assert stats.entries == 601
        CLOCK.advance(11)
        assert await router.get(QUIET.scope, "hidden") is None
        assert await router.search(QUIET, vectors(1)[0]) == []
        CLOCK.advance(-11)


async def test_it_is_read_only(url: str) -> None:
    async with AsyncClient(url) as client:
        async with index(client) as router:
            writes = (router.add([]), router.delete(EVERYBODY, "a"), router.delete_where(Selection()))
            for write in writes:
                with pytest.raises(Unsupported):
                    await write
            with pytest.raises(Unsupported):
                [one async for one in router.scan()]
        assert await client.ready()  # it is still open


async def test_collections_that_do_not_match_are_refused(url: str) -> None:
    async with RouterIndex(url, "cosine", FINGERPRINT, DIMENSION, deadline=10.0) as router:
        assert isinstance((await router.search(HERE, vectors(1)[0]))[0], Match)
    refused = [
        (RouterIndex(url, "cosine", "other", DIMENSION, deadline=10.0), FingerprintMismatch, FINGERPRINT),
        (index(url, dimension=4), InvalidInput, "^dimension: 4"),
        (index(url, "plain"), InvalidInput, "collection_table"),
        (index(url, "none"), Unavailable, "does not exist"),
    ]
    for router, error, message in refused:
        with pytest.raises(error, match=message):
            async with router:
                pass


async def test_an_unreachable_router_is_unavailable() -> None:
    router = RouterIndex("http://127.0.0.1:1", "cosine", FINGERPRINT, DIMENSION)
    for call in (router.open(), router.get(EVERYBODY, "a"), router.search(HERE, vectors(1)[0])):
        with pytest.raises(Unavailable):
            await call
    await router.close()
    await router.close()
