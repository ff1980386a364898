"""Partitions, names of indexes, and the default implementation of ``lookup``."""

from __future__ import annotations

from typing import Any

import pytest

from vectorcache.errors import InvalidInput
from vectorcache_llm.scope import Scope
from vectorcache_llm.similarity import INDEXES, MemoryIndex, Partition, SimilarityIndex, open_index


@pytest.mark.parametrize("context", ["x" * 201, "a\nb", "\x00", None, b"c"])
def test_a_bad_context_is_named(context: Any) -> None:
    with pytest.raises(InvalidInput, match="^context"):
        Partition(Scope(), context)


def test_indexes_are_made_by_name() -> None:
    index = open_index("memory", fingerprint="f", dimension=4, method="exact")
    assert isinstance(index, MemoryIndex)
    assert (index.fingerprint, index.dimension, index.name) == ("f", 4, "memory")
    assert all(issubclass(kind, SimilarityIndex) for kind in INDEXES.values())
    with pytest.raises(InvalidInput, match=r"^index: 'none' .* memory, faiss, redis"):
        open_index("none")
