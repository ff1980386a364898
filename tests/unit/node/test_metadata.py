from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.support.core.queries import cell_query
from tests.support.servers import Words, begin_outage, local_node, node_settings, post, until

from vectorcache.errors import Unavailable
from vectorcache.index.build import build_collection
from vectorcache.index.layout import BuildSettings
from vectorcache.index.manifest import Current, Manifest, current_key, manifest_key
from vectorcache.index.query import CellQuery
from vectorcache.stores.folder import FolderBlobStore
from vectorcache_node import CacheNode, open_node


@pytest.fixture
def mine(words: Words, tmp_path: Path) -> Words:
    folder = tmp_path / "mine"
    shutil.copytree(words.folder, folder)
    return Words(folder, words.vectors, words.manifests)


def query(words: Words, version: int = 1) -> CellQuery:
    return cell_query("dot", version, words.queries(2), [np.arange(60, dtype=np.int32)] * 2, 3)


def keys_of(manifest: Manifest) -> list[str]:
    """Of all metadata of a version."""
    lookups = [manifest.lookup_key(shard) for shard in range(len(manifest.lookup))]
    name = manifest.collection
    return [current_key(name), manifest_key(name, manifest.version), manifest.centroids_key, *lookups]


async def keeps(node: CacheNode, manifest: Manifest) -> bool:
    return all([await node.blobs.recall(key) is not None for key in keys_of(manifest)])


async def test_metadata_of_a_searched_version_is_kept(mine: Words, tmp_path: Path) -> None:
    async with open_node(node_settings(mine, tmp_path / "data"), {}) as node:
        assert not await keeps(node, mine.manifests["dot"])
        await node.search(query(mine))
        await until(lambda: keeps(node, mine.manifests["dot"]))
        assert not await keeps(node, mine.manifests["cosine"])
        for key in keys_of(mine.manifests["dot"]):
            assert await node.blobs.recall(key) == (mine.folder / key).read_bytes()


async def test_a_new_version_and_its_pointer_follow(mine: Words, tmp_path: Path) -> None:
    now = 100.0
    async with (
        open_node(node_settings(mine, tmp_path / "data"), {}) as node,
        FolderBlobStore(mine.folder) as blobs,
    ):
        node.keeper._clock = lambda: now
        await node.search(query(mine))
        await until(lambda: keeps(node, mine.manifests["dot"]))
        settings = BuildSettings(metric="dot", cells=60, calibration_queries=20)
        built = (await build_collection(blobs, "dot", mine.vectors, settings)).manifest

        async def follows() -> bool:
            pointer = await node.blobs.recall(current_key("dot"))
            return pointer is not None and msgspec.json.decode(pointer, type=Current).version == 2

        now += 2
        await node.search(query(mine, version=2))
        await until(lambda: keeps(node, built))
        await until(follows)


async def test_a_node_without_its_blob_store_searches_cached_chunks(
    mine: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = node_settings(mine, tmp_path / "data")
    async with open_node(settings, {}) as node:
        before = await node.search(query(mine))
        await until(lambda: keeps(node, mine.manifests["dot"]))
    begin_outage(monkeypatch)
    async with open_node(settings, {}) as node:
        with pytest.raises(Unavailable):
            await node.storage.get("dot/v1/chunks/nowhere.arrow")
        after = await node.search(query(mine))
    assert [hits.ids for hits in after.hits] == [hits.ids for hits in before.hits]
    assert not len(after.failed)


async def test_a_kept_copy_is_returned(mine: Words, tmp_path: Path) -> None:
    async with local_node(node_settings(mine, tmp_path / "data")) as (node, client):
        await node.search(query(mine))
        await until(lambda: keeps(node, mine.manifests["dot"]))
        url = str(client.make_url("/v1/kept"))
        key = mine.manifests["dot"].centroids_key
        status, answer = await post(client.session, url, {"key": key})
        assert (status, answer["data"]) == (200, (mine.folder / key).read_bytes())
        status, problem = await post(client.session, url, {"key": "dot/v9/manifest.json"})
        assert (status, problem["detail"]) == (404, "blob 'dot/v9/manifest.json' does not exist")
        status, problem = await post(client.session, url, {"key": ""})
        assert status == 400


async def test_evicted_copies_are_read_again(mine: Words, tmp_path: Path) -> None:
    now = 100.0
    async with open_node(node_settings(mine, tmp_path / "data"), {}) as node:
        node.keeper._clock = lambda: now
        await node.search(query(mine))
        await until(lambda: keeps(node, mine.manifests["dot"]))
        lookup = mine.manifests["dot"].lookup_key(0)
        await node.blobs._kept.delete(lookup)
        await node.search(query(mine))
        assert not await keeps(node, mine.manifests["dot"]), "not yet"
        now += 601
        await node.search(query(mine))
        await until(lambda: keeps(node, mine.manifests["dot"]))


async def test_few_looks_wait_at_a_time(mine: Words, tmp_path: Path) -> None:
    async with open_node(node_settings(mine, tmp_path / "data"), {}) as node:
        for number in range(5000):
            node.keeper.searched(f"nowhere-{number}", 1)
            node.keeper.searched("dot", 1)
        assert len(node.keeper._tasks._running) == 64
