"""Arrow tables as bytes: the encoding of all blobs of a build except the JSON."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from vectorcache.errors import CorruptData
from vectorcache.vectors.metric import Floats


def write_ipc(table: pa.Table) -> bytes:
    """Return the table as an Arrow IPC file of one record batch, so that each column is read as one array."""
    table = table.combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read_ipc(data: bytes | memoryview, key: str, *, validate: bool = True) -> pa.Table:
    """Return the table in an Arrow IPC file. Its columns are views of the bytes.

    ``validate`` checks all offsets and texts. It may be omitted only if these bytes were validated before, because
    Arrow reads outside of its buffers if an offset is wrong.

    Raises:
        CorruptData: the bytes are not a valid Arrow IPC file.
    """
    try:
        table = pa.ipc.open_file(pa.py_buffer(data)).read_all()
        if validate:
            table.validate(full=True)
        return table
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptData(f"{key!r} ({len(data)} bytes) is not an Arrow IPC file: {error}") from error


def whole(table: pa.Table, name: str, key: str, *types: pa.DataType) -> pa.Array:
    """Return a column as one array, without a copy if it has one chunk.

    Raises:
        CorruptData: it is missing, duplicated, has nulls, or has none of ``types`` (if any are given).
    """
    if table.column_names.count(name) != 1:
        raise CorruptData(f"{key!r} has no column {name!r}, or more than one")
    column = table.column(name)
    if column.null_count or (types and column.type not in types):
        raise CorruptData(f"{key!r}: column {name!r} has type {column.type} and {column.null_count} nulls")
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def from_vectors(vectors: Floats) -> pa.Array:
    """Return vectors (n, d) float32 as a fixed_size_list<float32>[d] array."""
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1), type=pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def to_vectors(column: pa.Array, key: str) -> Floats:
    """Return the vectors of a column, without a copy. Raises ``CorruptData`` if it has another type or nulls."""
    kind = column.type
    is_vectors = pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32() and kind.list_size > 0
    if not is_vectors or column.null_count or column.flatten().null_count:
        raise CorruptData(f"{key!r}: the vector column has type {kind}, or contains nulls")
    vectors: Floats = column.flatten().to_numpy().reshape(len(column), kind.list_size)
    return vectors
