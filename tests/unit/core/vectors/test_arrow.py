from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from tests.support.core.vector_search_contract import random_vectors

from vectorcache.errors import CorruptData
from vectorcache.vectors.arrow import from_vectors, read_ipc, to_vectors, whole, write_ipc


def test_tables_come_back() -> None:
    table = pa.table({"a": [1, 2], "b": ["x", None]}).replace_schema_metadata({"k": "v"})
    back = read_ipc(write_ipc(table), "key")
    assert back.equals(table)
    assert back.schema.metadata == {b"k": b"v"}


@pytest.mark.parametrize("data", [b"", b"ARROW1", bytes(1000), b"PAR1" * 100])
def test_other_bytes_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptData, match=f"'the/key' \\({len(data)} bytes\\) is not an Arrow IPC file"):
        read_ipc(data, "the/key")


def test_an_offset_outside_of_its_buffer_is_corrupt() -> None:
    data = write_ipc(pa.table({"id": ["a" * 1234, "b" * 4321]}))
    good, bad = (np.array([0, middle, 5555], dtype=np.int32).tobytes() for middle in (1234, 2**30))
    assert data.count(good) == 1
    with pytest.raises(CorruptData, match="key"):
        read_ipc(data.replace(good, bad), "key")


@pytest.mark.parametrize(("rows", "dimension"), [(5, 3), (0, 3), (1, 1)])
def test_vectors_come_back(rows: int, dimension: int) -> None:
    vectors = random_vectors(rows, dimension)
    back = to_vectors(from_vectors(vectors), "key")
    assert back.shape == (rows, dimension)
    assert back.tolist() == vectors.tolist()


def test_vectors_that_are_not_contiguous_come_back() -> None:
    vectors = random_vectors(6, 8)[::2, ::2]
    assert to_vectors(from_vectors(vectors), "key").tolist() == vectors.tolist()


def test_a_slice_of_vectors_is_those_vectors() -> None:
    vectors = random_vectors(6, 4)
    assert to_vectors(from_vectors(vectors)[2:4], "key").tolist() == vectors[2:4].tolist()


def test_whole_wants_a_column_of_one_of_the_types() -> None:
    table = pa.table({"a": [1, 2]})
    assert whole(table, "a", "key").to_pylist() == [1, 2]
    assert whole(table, "a", "key", pa.string(), pa.int64()).to_pylist() == [1, 2]
    for bad in ({"name": "b"}, {"types": [pa.string()]}):
        with pytest.raises(CorruptData, match="'key'"):
            whole(table, str(bad.get("name", "a")), "key", *bad.get("types", []))


def test_whole_joins_what_is_in_parts() -> None:
    table = pa.concat_tables([pa.table({"a": [1, 2]}), pa.table({"a": [3]})])
    assert whole(table, "a", "key").to_pylist() == [1, 2, 3]
