"""The contract for each kind, and updates of the ANN indexes built with faiss."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.llm.clock import FakeClock
from tests.support.llm.index_contract import (
    DIMENSION,
    FINGERPRINT,
    HERE,
    IndexContract,
    Make,
    entry,
    ids,
    near,
    vectors,
)

from vectorcache.errors import InvalidInput
from vectorcache_llm.scope import EVERYBODY
from vectorcache_llm.similarity.local.faiss import KINDS, MIN_ROWS, FaissIndex


class FaissContract(IndexContract):
    keeps = False
    kind: str

    @pytest.fixture
    def make(self, clock: FakeClock) -> Make:
        def make(**changes: object) -> FaissIndex:
            settings = {"fingerprint": FINGERPRINT, "dimension": DIMENSION, "clock": clock, **changes}
            return FaissIndex(kind=self.kind, **settings)  # type: ignore[arg-type]

        return make


class TestFlat(FaissContract):
    kind = "flat"


class TestIvf(FaissContract):
    kind = "ivf"
    recall = 0.98


class TestIvfPq(FaissContract):
    kind = "ivfpq"
    recall = 0.98


class TestHnsw(FaissContract):
    kind = "hnsw"
    recall = 0.98


@pytest.mark.parametrize("kind", KINDS)
async def test_the_ann_index_reflects_every_change(kind: str) -> None:
    index = FaissIndex(FINGERPRINT, DIMENSION, kind=kind)
    rows = vectors(MIN_ROWS)
    await index.add([entry(f"{number}", row) for number, row in enumerate(rows)])
    await index.close()
    assert all(one.has_ann for one in index._shards.values())
    fresh = vectors(1500, 7)
    await index.delete(EVERYBODY, *(f"{number}" for number in range(1200)))
    await index.add([entry(f"new{number}", row) for number, row in enumerate(fresh)])
    await index.close()
    found = [await index.search(HERE, near(row, 0.98, 1), 1, 0.97) for row in fresh[::50]]
    assert sum(ids(one) == [f"new{50 * number}"] for number, one in enumerate(found)) >= 0.98 * len(found)
    gone = [await index.search(HERE, row, 1, 0.9999) for row in rows[:1200:60]]
    assert not any(gone)


@pytest.mark.parametrize("kind", KINDS)
def test_an_ann_index_removes_rows_and_reports_when_it_needs_a_rebuild(kind: str) -> None:
    import faiss

    rows = vectors(400)
    ann = KINDS[kind][0](faiss, np.arange(400), rows)
    ann.remove(np.arange(399))
    ann.remove(np.array([7, 10_000]))  # not in the index
    assert len(ann) == 1
    assert ann.nearest(rows[399], 3) == [399]
    ann.add(np.arange(1000, 1000 + 2000), vectors(2000, 1))
    assert ann.needs_rebuild is (kind in ("ivf", "ivfpq"))


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(InvalidInput, match="^kind: 'pq'"):
        FaissIndex("f", 4, kind="pq")
