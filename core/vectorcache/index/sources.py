"""The input of a build: .npy, .fvecs, Parquet, Arrow, arrays, or batches from an iterator.

Every input is opened as a ``Source``: vectors that can be indexed by row, ids, and payload. A float32 .npy file and an
.fvecs file are mapped. Any other input is converted once into a spool file and mapped from there, so that a build
does not hold all vectors in memory.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vectorcache.errors import InvalidInput
from vectorcache.index.chunk import RESERVED_COLUMNS
from vectorcache.vectors.metric import Floats, as_vectors

BATCH_ROWS = 65_536

Batch: TypeAlias = "NDArray[np.generic] | pa.RecordBatch"
"""Vectors (n, d), or a record batch of a vector column, an id column and payload columns."""
Input: TypeAlias = "str | Path | NDArray[np.generic] | pa.Table | Iterable[Batch]"

FORMATS = ".npy, .fvecs, .parquet, .arrow, .feather"


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns that hold the id and the vector, for input that has columns."""

    id: str = "id"
    vector: str = "vector"


@dataclass(frozen=True, slots=True)
class Source:
    """Vectors (n, d) float32, which may be on disk, their ids, and their payload columns or None."""

    vectors: Floats
    ids: pa.ChunkedArray
    payload: pa.Table | None

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.vectors):
            raise InvalidInput("ids", f"{len(self.ids)} ids", f"{len(self.vectors)}, one per vector")
        if self.payload is not None and len(self.payload) != len(self.vectors):
            raise InvalidInput("payload", f"{len(self.payload)} rows", f"{len(self.vectors)}, one per vector")

    def blocks(self) -> Iterator[tuple[int, Floats]]:
        """Yield the first row and the vectors, in memory, of consecutive blocks of at most ``BATCH_ROWS`` rows."""
        for start in range(0, len(self.vectors), BATCH_ROWS):
            block = np.ascontiguousarray(self.vectors[start : start + BATCH_ROWS])
            _release(self.vectors)
            yield start, block

    def read(self, rows: NDArray[np.int64]) -> Floats:
        """Return the vectors (m, d) of some rows, in any order, in memory. Thread-safe.

        They are read in ascending order and block by block, because a page fault maps up to 2 MiB around a row: a
        few hundred rows in a random order would map the whole file.
        """
        read = np.empty((len(rows), self.vectors.shape[1]), dtype=np.float32)
        order = np.argsort(rows, kind="stable")
        edges = np.arange(0, len(self.vectors) + BATCH_ROWS, BATCH_ROWS)
        for first, stop in pairwise(np.searchsorted(rows[order], edges).tolist()):
            if first < stop:
                block = order[first:stop]
                read[block] = self.vectors[rows[block]]
                _release(self.vectors)
        return read

    @property
    def attribute_bytes(self) -> int:
        """Bytes of ids and payload."""
        payload = int(self.payload.nbytes) if self.payload is not None else 0
        return int(self.ids.nbytes) + payload


def open_source(
    data: Input,
    spool: Path,
    *,
    columns: Columns | None = None,
    attributes: str | Path | pa.Table | None = None,
) -> Source:
    """Open the input of a build.

    Args:
        data: a path, an array (n, d), a table, or an iterable of batches.
        spool: an existing folder for converted vectors. It must exist as long as the source is used.
        columns: names of the id and vector columns, of ``data`` or of ``attributes``.
        attributes: a Parquet or Arrow file, or a table, with the ids and payload of vectors that come without them.
            Its rows are in the order of the vectors. Without an id column, the row's number is the id.

    Raises:
        InvalidInput: an unknown format, no vectors, a wrong shape, NaN or infinity (the field names the row),
            duplicate or missing ids, or a number of attributes that differs from that of vectors.
    """
    columns = columns or Columns()
    vectors, table = _open(data, spool, columns)
    if not len(vectors):
        raise InvalidInput("vectors", "an empty set", "at least one vector")
    if attributes is not None:
        table = attributes if isinstance(attributes, pa.Table) else _read_table(Path(attributes))
        if len(table) != len(vectors):
            raise InvalidInput("attributes", f"{len(table)} rows", f"{len(vectors)}, one per vector")
    return _with_attributes(vectors, table, columns)


def _open(data: Input, spool: Path, columns: Columns) -> tuple[Floats, pa.Table | None]:
    if isinstance(data, str | Path):
        return _open_path(Path(data), spool, columns)
    if isinstance(data, np.ndarray):
        return _checked(as_vectors(data, "vectors")), None
    if isinstance(data, pa.Table):
        return _spooled(data.to_batches(BATCH_ROWS), spool, columns)
    return _spooled(data, spool, columns)


def _open_path(path: Path, spool: Path, columns: Columns) -> tuple[Floats, pa.Table | None]:
    if not path.is_file():
        raise InvalidInput("source", str(path), f"an existing file: {FORMATS}")
    match path.suffix:
        case ".npy":
            return _open_npy(path, spool, columns)
        case ".fvecs":
            return _checked(_map_fvecs(path)), None
        case ".parquet":
            return _spooled(_parquet_batches(path), spool, columns)
        case ".arrow" | ".feather":
            return _spooled(_read_table(path).to_batches(BATCH_ROWS), spool, columns)
        case _:
            raise InvalidInput("source", str(path), f"a file that ends in {FORMATS}")


def _open_npy(path: Path, spool: Path, columns: Columns) -> tuple[Floats, pa.Table | None]:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError) as error:
        raise InvalidInput("source", str(path), "a .npy file of numbers") from error
    if array.ndim != 2:
        raise InvalidInput("source", f"an array of {array.ndim} axes", "two axes: one vector per row")
    if array.dtype == np.float32:
        return _checked(array), None
    blocks = (array[start : start + BATCH_ROWS] for start in range(0, len(array), BATCH_ROWS))
    return _spooled(blocks, spool, columns)


def _map_fvecs(path: Path) -> Floats:
    """Map an .fvecs file, which has the dimension (int32) and the components (float32) of each vector."""
    size = path.stat().st_size
    words = np.memmap(path, dtype="<i4", mode="r") if size and size % 4 == 0 else np.empty(0, "<i4")
    dimension = int(words[0]) if len(words) else 0
    if dimension < 1 or len(words) % (dimension + 1):
        raise InvalidInput("source", str(path), "an .fvecs file of vectors of one dimension")
    table = words.reshape(-1, dimension + 1)
    if not (table[:, 0] == dimension).all():
        raise InvalidInput("source", str(path), f"vectors of dimension {dimension}, like the first one")
    vectors: Floats = table[:, 1:].view("<f4")
    return vectors


def _checked(vectors: Floats) -> Floats:
    """Check all vectors for NaN, infinity and a bad dimension, block by block, and return them without a copy."""
    for start in range(0, len(vectors), BATCH_ROWS):
        as_vectors(vectors[start : start + BATCH_ROWS], "vectors", first_row=start)
        _release(vectors)
    return vectors


def _release(vectors: Floats) -> None:
    """Remove the pages of a mapped file from this process's memory. They stay in the system's page cache.

    A writable mapping is not touched, because pages that were copied on a write would be lost.
    """
    owner: object = vectors
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and memoryview(owner).readonly:
        owner.madvise(mmap.MADV_DONTNEED)


def _parquet_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with _readable(path), pq.ParquetFile(path) as file:
        yield from file.iter_batches(BATCH_ROWS)


def _read_table(path: Path) -> pa.Table:
    with _readable(path):
        if path.suffix == ".parquet":
            return pq.read_table(path)
        source = pa.memory_map(str(path))
        try:
            return pa.ipc.open_file(source).read_all()
        except pa.ArrowInvalid:
            source.seek(0)
            return pa.ipc.open_stream(source).read_all()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput("source", str(path), "a complete Parquet or Arrow file") from error


def _spooled(batches: Iterable[Batch], spool: Path, columns: Columns) -> tuple[Floats, pa.Table | None]:
    """Write the vectors of all batches to one file. Return the mapped file, and the other columns or None."""
    path = spool / "vectors.f32"
    dimension: int | None = None
    rows = 0
    tables: list[pa.Table] = []
    with path.open("wb") as file:
        for batch in batches:
            if not len(batch):
                continue
            vectors, rest = _split(batch, columns, rows, dimension)
            dimension = vectors.shape[1]
            rows += len(vectors)
            _append(file, vectors)
            if rest is not None:
                tables.append(rest)
    if dimension is None:
        raise InvalidInput("vectors", "an empty set", "at least one vector")
    mapped = np.memmap(path, dtype=np.float32, mode="r", shape=(rows, dimension))
    return mapped, (_concatenated(tables) if tables else None)


def _append(file: IO[bytes], vectors: Floats) -> None:
    file.write(vectors.data)


def _concatenated(tables: list[pa.Table]) -> pa.Table:
    try:
        return pa.concat_tables(tables)
    except pa.ArrowInvalid as error:
        raise InvalidInput("source", "batches of different columns", "the same columns in each") from error


def _split(
    batch: Batch, columns: Columns, first_row: int, dimension: int | None
) -> tuple[Floats, pa.Table | None]:
    if isinstance(batch, np.ndarray):
        return as_vectors(batch, "vectors", dimension=dimension, first_row=first_row), None
    table = pa.Table.from_batches([batch])
    if columns.vector not in table.column_names:
        raise InvalidInput("vector column", columns.vector, f"one of {', '.join(table.column_names)}")
    lists = _list_column(table.column(columns.vector), columns.vector)
    vectors = as_vectors(lists, f"column {columns.vector}", dimension=dimension, first_row=first_row)
    rest = table.drop_columns([columns.vector])
    return vectors, rest if rest.num_columns else None


def _list_column(column: pa.ChunkedArray, name: str) -> NDArray[np.generic]:
    """Return a column of equally long lists of numbers as an array (n, d)."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = array.type
    is_list = any(
        test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    )
    if not is_list or array.null_count:
        raise InvalidInput(f"column {name}", str(kind), "a list of numbers in every row")
    lengths = pc.unique(pc.list_value_length(array)).to_pylist()
    if len(lengths) > 1:
        raise InvalidInput(f"column {name}", f"lists of lengths {sorted(lengths)[:4]}", "lists of one length")
    values: NDArray[np.generic] = array.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(array), lengths[0] if lengths else 0)


def _with_attributes(vectors: Floats, table: pa.Table | None, columns: Columns) -> Source:
    if table is None or columns.id not in table.column_names:
        ids = pa.chunked_array([pa.array(np.arange(len(vectors), dtype=np.int64))])
        return Source(vectors, ids, table)
    payload = table.drop_columns([columns.id])
    ids = _as_ids(table.column(columns.id), columns.id)
    _check_ids(ids)
    return Source(vectors, ids, payload if payload.num_columns else None)


def _as_ids(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_ids(column.cast(kind.value_type), name)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.string())
    if pa.types.is_integer(kind):
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise InvalidInput(f"column {name}", str(error), "signed 64-bit integers") from error
    raise InvalidInput(f"column {name}", str(kind), "integers or strings, because the column holds the ids")


def _check_ids(ids: pa.ChunkedArray) -> None:
    if ids.null_count:
        raise InvalidInput("ids", None, "an id for every vector")
    if not _are_unique(ids):
        counts = pc.value_counts(ids.combine_chunks())
        repeated = counts.filter(pc.greater(counts.field("counts"), 1))[0].as_py()
        raise InvalidInput(
            "ids", repeated["values"], f"unique ids; this one occurs {repeated['counts']} times"
        )


def _are_unique(ids: pa.ChunkedArray) -> bool:
    if pa.types.is_integer(ids.type):
        ordered = np.sort(ids.to_numpy())  # takes an eighth of the memory of a hash table
        return not (ordered[1:] == ordered[:-1]).any()
    distinct = pc.count_distinct(ids).as_py()
    pa.default_memory_pool().release_unused()  # the hash table's memory
    return bool(distinct == len(ids))


def check_payload(payload: pa.Table | None) -> None:
    """Raise ``InvalidInput`` if two payload columns have the same name, or one has a name that chunks use."""
    names = payload.column_names if payload is not None else []
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput("payload column", name, "unique names")
        if name in RESERVED_COLUMNS:
            raise InvalidInput("payload column", name, f"any name but {', '.join(sorted(RESERVED_COLUMNS))}")
