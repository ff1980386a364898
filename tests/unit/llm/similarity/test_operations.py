"""The random operations detect an index that leaks across partitions."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.index_contract import DIMENSION, FINGERPRINT
from tests.support.llm.operations import Operations

from vectorcache.vectors.metric import Floats
from vectorcache_llm.scope import Scope
from vectorcache_llm.similarity import MemoryIndex
from vectorcache_llm.similarity.base import IndexEntry, Match, Partition


class IgnoresUsers(MemoryIndex):
    """Finds entries of another user of the tenant."""

    async def search(
        self, partition: Partition, vector: Floats, k: int = 1, min_similarity: float = 0.0
    ) -> list[Match]:
        others = replace(partition, scope=replace(partition.scope, user="a"))
        return await super().search(others, vector, k, min_similarity)


class IgnoresNames(MemoryIndex):
    """Gets entries of another application of the user."""

    async def get(self, scope: Scope, id: str) -> IndexEntry | None:  # noqa: A002 - the field's name
        return await super().get(replace(scope, name="n"), id)


@pytest.mark.parametrize("leaky", [IgnoresUsers, IgnoresNames])
@pytest.mark.parametrize("strict", [True, False])
async def test_a_leak_is_detected(leaky: type[MemoryIndex], strict: bool) -> None:
    clock = FakeClock()
    operations = Operations(
        leaky(FINGERPRINT, DIMENSION, clock=clock), clock, random.Random(1), DIMENSION, strict
    )
    with pytest.raises(AssertionError):
        await operations.run(500)
    assert strict or operations.crossed == 1


async def test_an_index_without_a_leak_passes() -> None:
    clock = FakeClock()
    index = MemoryIndex(FINGERPRINT, DIMENSION, clock=clock)
    operations = Operations(index, clock, random.Random(1), DIMENSION)
    await operations.run(2000)
    assert (operations.done, operations.crossed) == (2000, 0)
    assert operations.answers > 500
