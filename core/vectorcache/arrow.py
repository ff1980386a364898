"""Arrow tables as bytes and back: the one encoding of everything that a build writes but the JSON."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from vectorcache.errors import CorruptData
from vectorcache.metric import Floats


def write_ipc(table: pa.Table) -> bytes:
    """The table as an Arrow IPC file of one record batch, so that reading it yields whole columns."""
    table = table.combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read_ipc(data: bytes, key: str) -> pa.Table:
    """The table in an Arrow IPC file, its columns views of the bytes; ``CorruptData`` names the key."""
    try:
        return pa.ipc.open_file(pa.py_buffer(data)).read_all()
    except (pa.ArrowException, OSError) as error:
        raise CorruptData(f"{key!r} ({len(data)} bytes) is not an Arrow IPC file: {error}") from error


def whole(table: pa.Table, name: str, key: str) -> pa.Array:
    """A column as one array, not copied where it is one already; ``CorruptData`` where it is missing."""
    if name not in table.column_names:
        raise CorruptData(f"{key!r} has no column {name!r}")
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def from_vectors(vectors: Floats) -> pa.Array:
    """Vectors (n, d) float32 as a fixed_size_list<float32>[d] array."""
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1), type=pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def to_vectors(column: pa.Array, key: str) -> Floats:
    """The other way, without a copy; ``CorruptData`` where the column is of another type or has nulls."""
    is_vectors = pa.types.is_fixed_size_list(column.type) and column.type.value_type == pa.float32()
    if not is_vectors or column.null_count:
        raise CorruptData(f"{key!r} holds {column.type} where vectors are expected")
    vectors: Floats = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
    return vectors
