from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.servers import Client, Words, local_node, node_settings

from vectorcache_node import CacheNode


@pytest.fixture
async def served(words: Words, tmp_path: Path) -> AsyncIterator[tuple[CacheNode, Client]]:
    settings = node_settings(words, tmp_path / "data", "--max-queries", "100", "--max-body", "100Ki")
    async with local_node(settings) as served:
        yield served


@pytest.fixture
def node(served: tuple[CacheNode, Client]) -> CacheNode:
    return served[0]


@pytest.fixture
def client(served: tuple[CacheNode, Client]) -> Client:
    return served[1]
