from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.support.core.collections import build, clustered

from vectorcache.errors import InvalidInput
from vectorcache.index.manifest import Manifest
from vectorcache.index.options import (
    ResolvedOptions,
    SearchKeywords,
    SearchLimits,
    SearchOptions,
    resolve,
)
from vectorcache.stores.memory import MemoryBlobStore

QUERIES = clustered(3)
LIMITS = SearchLimits(k=7, nprobe=2, timeout=3.0, max_k=20, max_nprobe=9, max_probes=24)


@pytest.fixture
async def manifest() -> Manifest:
    return (await build(MemoryBlobStore(), clustered(300))).manifest


def test_keywords_are_the_fields_beside_k() -> None:
    assert {*SearchOptions.__struct_fields__} == {"k", *SearchKeywords.__annotations__}
    assert {*ResolvedOptions.__struct_fields__} == {*SearchOptions.__struct_fields__}


def test_defaults_are_those_of_the_build_or_of_the_limits(manifest: Manifest) -> None:
    found = resolve(SearchOptions(), QUERIES, manifest)
    assert (found.k, found.nprobe, found.timeout) == (10, manifest.search.nprobe, 30.0)
    found = resolve(SearchOptions(), QUERIES, manifest, LIMITS)
    assert (found.k, found.nprobe, found.timeout) == (7, 2, 3.0)


def test_what_is_given_is_kept(manifest: Manifest) -> None:
    options = SearchOptions(k=3, nprobe=4, timeout=1.5, payload=True, exact=True, version=manifest.version)
    assert resolve(options, QUERIES, manifest, LIMITS) == ResolvedOptions(
        k=3, nprobe=4, timeout=1.5, payload=True, exact=True, version=manifest.version
    )


def test_a_default_timeout_may_be_longer_than_a_request_may_ask_for(manifest: Manifest) -> None:
    assert resolve(SearchOptions(), QUERIES, manifest, SearchLimits(timeout=900.0)).timeout == 900.0


def test_a_recall_chooses_nprobe(manifest: Manifest) -> None:
    found = resolve(SearchOptions(recall=0.5), QUERIES, manifest)
    assert (found.nprobe, found.recall) == (manifest.search.nprobe_for(0.5), None)
    assert resolve(SearchOptions(recall=1.0), QUERIES, manifest, SearchLimits(max_nprobe=2)).nprobe == 2


@pytest.mark.parametrize(("more", "exact"), [(-1, False), (0, True), (5, True)])
def test_a_search_of_all_cells_is_exact(manifest: Manifest, more: int, exact: bool) -> None:
    assert resolve(SearchOptions(nprobe=manifest.cells + more), QUERIES, manifest).exact is exact


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "^k: 0 "),
        ({"k": 21}, "^k: 21 .* 1 to 20"),
        ({"nprobe": 0}, "^nprobe: 0 "),
        ({"nprobe": 10}, "^nprobe: 10 .* 1 to 9"),
        ({"nprobe": 9}, "^nprobe: '9 for each of 3 queries' .*at most 24 cells over all queries"),
        ({"recall": 0.0}, "^recall: 0.0 .*at most 1"),
        ({"recall": 0.9, "nprobe": 3}, "^recall: 0.9 .*together with nprobe"),
        ({"version": 9}, "^version: 9 .*1, the version that is open"),
        ({"timeout": 0.0}, "^timeout: 0.0 .*more than 0 and at most 600 seconds"),
        ({"timeout": 601.0}, "^timeout: 601.0 "),
        ({"timeout": float("nan")}, "^timeout: nan "),
        ({"timeout": "1s"}, "^timeout: '1s' .*seconds"),
        ({"recall": "high"}, "^recall: 'high' .*at most 1"),
    ],
)
def test_what_is_not_allowed_is_named(manifest: Manifest, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        resolve(SearchOptions(**options), QUERIES, manifest, LIMITS)


async def test_zero_vectors_have_no_cosine_distance() -> None:
    manifest = (await build(MemoryBlobStore(), clustered(300), metric="cosine")).manifest
    with pytest.raises(InvalidInput, match=r"^vectors\[1\]: 'a zero vector'"):
        resolve(SearchOptions(), np.array([QUERIES[0], QUERIES[1] * 0]), manifest)
