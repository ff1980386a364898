"""Arrow tables as bytes and back: the one encoding of everything that a build writes but the JSON."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from vectorcache.errors import CorruptData
from vectorcache.vectors.metric import Floats


def write_ipc(table: pa.Table) -> bytes:
    """The table as an Arrow IPC file of one record batch, so that reading it yields whole columns."""
    table = table.combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read_ipc(data: bytes | memoryview, key: str, *, validate: bool = True) -> pa.Table:
    """The table in an Arrow IPC file, its columns views of the bytes; ``CorruptData`` names the key.

    Every offset and every text is looked at, unless these bytes were validated before: Arrow trusts them later, and
    would read outside of its buffers.
    """
    try:
        table = pa.ipc.open_file(pa.py_buffer(data)).read_all()
        if validate:
            table.validate(full=True)
        return table
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptData(f"{key!r} ({len(data)} bytes) is not an Arrow IPC file: {error}") from error


def whole(table: pa.Table, name: str, key: str, *types: pa.DataType) -> pa.Array:
    """A column as one array, not copied where it is one already.

    Raises:
        CorruptData: it is missing, stands there twice, has nulls, or is of none of ``types`` (if there are any).
    """
    if table.column_names.count(name) != 1:
        raise CorruptData(f"{key!r} has no column {name!r}, or several")
    column = table.column(name)
    if column.null_count or (types and column.type not in types):
        raise CorruptData(f"{key!r} holds {column.type}, {column.null_count} of it null, as {name!r}")
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def from_vectors(vectors: Floats) -> pa.Array:
    """Vectors (n, d) float32 as a fixed_size_list<float32>[d] array."""
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1), type=pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def to_vectors(column: pa.Array, key: str) -> Floats:
    """The other way, without a copy; ``CorruptData`` where the column is of another type or has nulls."""
    kind = column.type
    is_vectors = pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32() and kind.list_size > 0
    if not is_vectors or column.null_count or column.flatten().null_count:
        raise CorruptData(f"{key!r} holds {kind} where vectors are expected, or nulls among them")
    vectors: Floats = column.flatten().to_numpy().reshape(len(column), kind.list_size)
    return vectors
