"""A fake router, served on the test's own loop or from a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest
from aiohttp.test_utils import TestServer
from tests.support.fake_router import FakeRouter, in_thread

WORDS = ["north", "east", "south", "west"]
VECTORS = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]], dtype=np.float32)


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter(VECTORS, WORDS)


@pytest.fixture
async def url(router: FakeRouter) -> AsyncIterator[str]:
    async with TestServer(router.app()) as server:
        yield str(server.make_url("/"))


@pytest.fixture
def thread_url(router: FakeRouter) -> Iterator[str]:
    with in_thread(router.app()) as running:
        yield running
