from __future__ import annotations

import numpy as np

from vectorcache.index.query import (
    Answer,
    CellAnswer,
    Hits,
    answer_of,
    answers_of,
    merge_hits,
    no_cells,
    searched_share,
)


def hits(rows: list[int], distances: list[float], payload: bool = False) -> Hits:
    payloads = [{"row": row} for row in rows] if payload else None
    return Hits(rows, distances, [f"id-{row}" for row in rows], payloads)


def test_merges_by_distance_and_takes_a_row_once() -> None:
    parts = [hits([1, 2], [0.5, 0.7], True), hits([3, 1], [0.1, 0.5], True), hits([], [], True)]
    merged = merge_hits(parts, 3)
    assert merged.rows == [3, 1, 2]
    assert merged.distances == [0.1, 0.5, 0.7]
    assert merged.ids == ["id-3", "id-1", "id-2"]
    assert merged.payload == [{"row": 3}, {"row": 1}, {"row": 2}]
    assert merge_hits(parts, 1).ids == ["id-3"]


def test_equal_distances_come_in_the_order_of_rows() -> None:
    assert merge_hits([hits([9], [1.0]), hits([2, 5], [1.0, 1.0])], 2).rows == [2, 5]


def test_without_payload_there_is_none() -> None:
    assert merge_hits([hits([1], [0.5]), hits([2], [0.1])], 3).payload is None


def test_merging_nothing_is_nothing() -> None:
    merged = merge_hits([], 3)
    assert (merged.rows, merged.distances, merged.ids) == ([], [], [])


def test_one_part_is_as_it_is() -> None:
    part = hits([1, 2], [0.5, 0.7])
    assert merge_hits([part], 3) is part


def test_searched_is_the_share_of_cells_that_did_not_fail() -> None:
    cells = np.array([1, 2, 3, 4], dtype=np.int32)
    assert searched_share(cells, no_cells()) == 1.0
    assert searched_share(cells, np.array([2, 9], dtype=np.int32)) == 0.75
    assert searched_share(cells, cells) == 0.0
    assert searched_share(no_cells(), cells) == 1.0


def test_an_answer_tells_whether_it_is_partial() -> None:
    assert not answer_of(hits([1], [0.5]), 1.0).partial
    assert answer_of(hits([1], [0.5]), 0.99).partial
    assert answer_of(hits([1], [0.5], True), 1.0, 7) == Answer(["id-1"], [0.5], [{"row": 1}], 1.0, 7)


def test_answers_count_failed_cells_of_each_query() -> None:
    failed = np.array([2], dtype=np.int32)
    found = CellAnswer([hits([1], [0.5]), hits([], [])], failed.tolist(), "gone", 10)
    cells = [np.array([1, 2], dtype=np.int32), np.array([3], dtype=np.int32)]
    assert [answer.searched for answer in answers_of(found, cells)] == [0.5, 1.0]
    assert [answer.scanned for answer in answers_of(found, cells)] == [5, 5]
