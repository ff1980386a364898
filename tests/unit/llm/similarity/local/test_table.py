"""Rows are found in every block, and the table allocates little more than it holds."""

from __future__ import annotations

import pytest
from tests.support.llm.index_contract import DIMENSION, entry, vectors

from vectorcache_llm.similarity.local.table import BLOCK_ROWS, Table


@pytest.mark.parametrize("count", [1, 2, 3, 5, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS + 1])
def test_every_row_is_stored_with_little_spare_capacity(count: int) -> None:
    table, rows = Table(DIMENSION), vectors(count)
    for number, row in enumerate(rows):
        assert table.put(entry(f"{number}", row), row) == number
    assert (table.vectors(range(count)) == rows).all()
    assert table.nearest(rows[-1], 1).tolist() == [count - 1] if count > 1 else [0]
    room = sum(len(block) for block in table._blocks)
    assert room < min(2 * count, count + BLOCK_ROWS)


def test_dropped_rows_count_as_compared() -> None:
    table, rows = Table(DIMENSION), vectors(10)
    for number, row in enumerate(rows):
        table.put(entry(f"{number}", row), row)
    table.drop("3")
    assert (len(table), table.height) == (9, 10)
