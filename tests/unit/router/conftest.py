from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.servers import Client, Words, local_cluster

from vectorcache_router import Cluster

Served = tuple[Cluster, Client]


@pytest.fixture
async def served(words: Words, tmp_path: Path) -> AsyncIterator[Served]:
    flags = (
        "--k",
        "7",
        "--max-queries",
        "50",
        "--max-k",
        "100",
        "--max-nprobe",
        "200",
        "--max-body",
        "100Ki",
    )
    async with local_cluster(words, tmp_path, *flags) as served:
        yield served


@pytest.fixture
def cluster(served: Served) -> Cluster:
    return served[0]


@pytest.fixture
def client(served: Served) -> Client:
    return served[1]
