from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.core.queries import cell_query
from tests.support.servers import Words, node_settings

from vectorcache.errors import InvalidInput, NotFound
from vectorcache.index.query import CellQuery
from vectorcache_node import CacheNode, NodeSettings, open_node
from vectorcache_service.settings import read


def query(words: Words, version: int = 1) -> CellQuery:
    return cell_query("dot", version, words.queries(2), [np.arange(60, dtype=np.int32)] * 2, 3)


async def test_a_node_counts_only_successful_searches(node: CacheNode, words: Words) -> None:
    answer = await node.search(query(words))
    with pytest.raises(NotFound):
        await node.search(query(words, version=9))
    assert (node.searches, node.queries, node.scanned) == (1, 2, answer.scanned)


async def test_uptime_is_by_the_clock(node: CacheNode) -> None:
    now = 100.0
    counted = CacheNode(node.name, node.blobs, node.versions, node.storage, node.keeper, clock=lambda: now)
    now = 107.5
    assert counted.uptime_seconds == 7.5


async def test_a_second_life_finds_the_chunks_on_disk(words: Words, tmp_path: Path) -> None:
    settings = node_settings(words, tmp_path)
    async with open_node(settings, {}) as node:
        first = await node.search(query(words))
    async with open_node(settings, {}) as node:
        second = await node.search(query(words))
        memory, disk, blob = node.layers()
    assert [hits.ids for hits in second.hits] == [hits.ids for hits in first.hits]
    assert disk.hits == memory.items == len(words.manifests["dot"].chunks)
    assert (blob.hits, blob.load_times.count) == (0, 0)


async def test_capacities_are_the_settings(words: Words, tmp_path: Path) -> None:
    settings = node_settings(words, tmp_path, "--memory", "2Mi", "--disk", "30Mi")
    async with open_node(settings, {}) as node:
        memory, disk, _ = node.layers()
        assert (memory.capacity_bytes, disk.capacity_bytes) == (2 << 20, 30 << 20)


@pytest.mark.parametrize(
    ("flags", "field"), [(["--data", "x"], "--blob-url"), (["--blob-url", "x"], "--data")]
)
async def test_a_missing_required_setting_is_named(flags: list[str], field: str) -> None:
    with pytest.raises(InvalidInput, match=r"'' is not allowed") as refused:
        async with open_node(read(NodeSettings, {}, flags), {}):
            pass
    assert refused.value.field == field


async def test_an_unsupported_url_is_refused(tmp_path: Path) -> None:
    flags = ["--data", str(tmp_path), "--blob-url", "ftp://somewhere"]
    with pytest.raises(InvalidInput, match=r"azure://"):
        async with open_node(read(NodeSettings, {}, flags), {}):
            pass
