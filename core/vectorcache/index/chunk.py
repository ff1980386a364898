"""A chunk: neighbouring cells stored together, and its encoding as an Arrow IPC file.

The columns are ``__codes`` (binary, only if the collection has codes), ``__row`` (int64, the vector's number in
its collection), ``id`` (int64 or string), ``vector`` (fixed_size_list<float32>), and the columns of the payload. The
rows of a cell are contiguous. The ``__codes`` value of the first row holds the codes of all rows, in the form that the
scan reads (``vectorcache.vectors.codes.section``); the values of the other rows are empty. So codes and vectors are two
ranges of the file. The schema's metadata holds the metric, the number of the first cell, the offsets of the cells and
the width of a code. Decoding copies the file once, into a slab; a mapped file is not copied. Codes, vectors and ids
are views of these bytes.
"""

from __future__ import annotations

from threading import Lock
from typing import Any, ClassVar

import msgspec
import numpy as np
import pyarrow as pa

from vectorcache.errors import CorruptData
from vectorcache.layers.codec import Codec
from vectorcache.stores.checksum import check_by_key
from vectorcache.vectors.arrow import from_vectors, read_ipc, to_vectors, whole, write_ipc
from vectorcache.vectors.codes import section_bytes
from vectorcache.vectors.metric import MAX_MAGNITUDE, Floats, largest_norm, metric_of
from vectorcache.vectors.slab import Slab
from vectorcache.vectors.topk import Rows

CODES, ROW, ID, VECTOR = "__codes", "__row", "id", "vector"
RESERVED_COLUMNS = frozenset({CODES, ROW, ID, VECTOR})
_FORMAT = 2
_METADATA_KEY = b"vectorcache"
_MEASURING = Lock()
_OBJECTS_BYTES = 8192  # bytes of the Python and Arrow objects of a chunk, measured, without its buffers
_TERM_BYTES = 4  # bytes per row, in addition to those of the file


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the schema's metadata.

    Attributes:
        metric: name of the collection's metric.
        first_cell: number of the first cell.
        offsets: cells + 1 row numbers inside the chunk; cell ``first_cell + i`` is ``offsets[i]:offsets[i + 1]``.
        code_width: bytes of a row's code; 0 if there are no codes.
        format: version of the file format.
    """

    metric: str
    first_cell: int
    offsets: list[int]
    code_width: int = 0
    format: int = _FORMAT


class Chunk:
    """Neighbouring cells in memory, ready to be scanned. Immutable, so safe to share between threads.

    Attributes:
        header: metric, cells, and width of a code.
        rows: (n,) int64, each vector's number in its collection.
        vectors: (n, d) float32.
        terms: (n,) float32, the term of each row in the metric's fast form; None before ``measure``.
        largest_norm: largest norm of the vectors; 0 before ``measure``.
        nbytes: bytes of memory, including overhead, without those of a mapped file.
        addresses: for ``vectorcache.vectors.native.Cells``, valid as long as the chunk exists.

    Args:
        table: the columns.
        header: their header.
        key: for error messages.
        mapped: whether the columns are views of a mapped file. Its vectors are not read until ``measure``.
    """

    __slots__ = (
        "_ids",
        "_payload",
        "_table",
        "addresses",
        "header",
        "largest_norm",
        "nbytes",
        "rows",
        "terms",
        "vectors",
    )

    def __init__(
        self,
        table: pa.Table,
        header: Header,
        key: str = "chunk",
        *,
        mapped: bool = False,
    ) -> None:
        self._table = table
        self.header = header
        ids = whole(table, ID, key, pa.int64(), pa.string())
        # Reading a number from a numpy array takes a fifth of the time that pyarrow needs.
        self._ids = ids.to_numpy() if ids.type == pa.int64() else ids
        self._payload = table.select([name for name in table.column_names if name not in RESERVED_COLUMNS])
        self.rows: Rows = whole(table, ROW, key, pa.int64()).to_numpy()
        self.vectors = to_vectors(whole(table, VECTOR, key), key)
        self.terms: Floats | None = None
        self.largest_norm = 0.0
        _check_offsets(header.offsets, len(self.rows), key)
        centroids, codes = self._section(key)
        self.addresses = (
            *(self.vectors.ctypes.data, 0, self.rows.ctypes.data),
            *(codes, centroids, header.first_cell),
        )
        self.nbytes = memory_bytes(int(table.nbytes), len(self), mapped=mapped)
        if not mapped:
            self.measure()
            if not self.largest_norm <= 1.01 * MAX_MAGNITUDE * self.vectors.shape[1] ** 0.5:  # nor NaN
                raise CorruptData(
                    f"{key!r} has vectors that are too large: their largest norm is {self.largest_norm}"
                )

    def measure(self) -> Floats:
        """Compute ``terms`` and ``largest_norm``, unless they are known, and return the terms. Thread-safe.

        They are computed only once, because a scan in another thread may read the terms by their address. ``terms`` is
        set last, so that ``addresses`` is complete when ``terms`` is not None.
        """
        if self.terms is not None:
            return self.terms
        with _MEASURING:
            if self.terms is None:
                terms = metric_of(self.header.metric).row_terms(self.vectors)
                self.largest_norm = largest_norm(self.vectors)
                vectors, _, *others = self.addresses
                self.addresses = (vectors, terms.ctypes.data, *others)
                self.terms = terms
            return self.terms

    def _section(self, key: str) -> tuple[int, int]:
        """Return the addresses of centroids and codes, or 0, 0. Checks their size, because a scan does not."""
        header, dimension = self.header, self.vectors.shape[1]
        if not header.code_width or not len(self):
            return 0, 0
        column = whole(self._table, CODES, key, pa.binary())
        cells = len(header.offsets) - 1
        wanted = section_bytes(len(self), cells, dimension, header.code_width)
        # A pyarrow scalar holds a copy, so the address is computed from the buffers.
        _, ends, data = column.buffers()
        start, stop = np.frombuffer(ends, dtype=np.int32)[column.offset :][:2].tolist()
        if header.code_width < 0 or stop - start != wanted:
            raise CorruptData(f"{key!r} has {stop - start} bytes of codes, not {wanted}")
        return data.address + start, data.address + start + 4 * cells * dimension

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def cells(self) -> range:
        """Numbers of the cells in this chunk."""
        header = self.header
        return range(header.first_cell, header.first_cell + len(header.offsets) - 1)

    def id_at(self, position: int) -> int | str:
        """Return the id of the row at a position."""
        ids = self._ids
        value: int | str = ids.item(position) if isinstance(ids, np.ndarray) else ids[position].as_py()
        return value

    def payload_at(self, position: int) -> dict[str, Any]:
        """Return the payload of the row at a position: a value per column, of the types that JSON and msgpack share.

        Dates, times and durations become ISO 8601 text, decimals become text, and bytes become base64.
        """
        return {
            name: _to_builtins(column[position])
            for name, column in zip(self._payload.column_names, self._payload.columns, strict=True)
        }


class ChunkCodec(Codec[Chunk]):
    """Codec of chunks as Arrow IPC files. Decoded chunks lie next to each other in the large pages of ``slab``."""

    def __init__(self, slab: Slab | None = None) -> None:
        self._slab = slab or Slab()

    def encode(self, key: str, value: Chunk) -> bytes:
        """Return the chunk as an Arrow IPC file."""
        return encode_chunk(value._table, value.header)

    def decode(self, key: str, data: bytes) -> Chunk:
        """Return the chunk in an Arrow IPC file. Raises ``CorruptData`` if it is not a chunk."""
        return self._chunk(key, read_ipc(self._slab.hold(data), key), mapped=False)

    mappable: ClassVar[bool] = True

    def map(self, key: str, data: memoryview) -> Chunk:
        """Return the chunk in a mapped Arrow IPC file."""
        return self._chunk(key, read_ipc(data, key, validate=False), mapped=True)

    def prefers_mapping(self, value: Chunk) -> bool:
        """Return whether it has codes. Without them a scan reads all vectors, a tenth faster in large pages."""
        return value.header.code_width > 0

    def _chunk(self, key: str, table: pa.Table, *, mapped: bool) -> Chunk:
        try:
            header = msgspec.json.decode(table.schema.metadata[_METADATA_KEY], type=Header)
            if header.format != _FORMAT:
                raise CorruptData(f"{key!r} has format {header.format}; this version reads {_FORMAT}")
            return Chunk(table, header, key, mapped=mapped)
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise CorruptData(f"{key!r} is not a chunk: {error}") from error

    def check_blob(self, key: str, data: bytes) -> None:
        """Compare the data with the checksum in the key. Raises ``CorruptData`` if they differ."""
        check_by_key(key, data)


def encode_chunk(table: pa.Table, header: Header) -> bytes:
    """Return rows, in the order of their cells, as one Arrow IPC file."""
    return write_ipc(table.replace_schema_metadata({_METADATA_KEY: msgspec.json.encode(header)}))


def chunk_table(
    rows: Rows, ids: pa.Array, vectors: Floats, payload: pa.Table | None, codes: bytes | None = None
) -> pa.Table:
    """Return the columns of a chunk. Payload columns keep their names."""
    columns = (
        {} if codes is None else {CODES: pa.array([codes, *[b""] * len(rows)][: len(rows)], type=pa.binary())}
    )
    columns |= {ROW: pa.array(rows, type=pa.int64()), ID: ids, VECTOR: from_vectors(vectors)}
    if payload is not None:
        columns |= {name: payload.column(name) for name in payload.column_names}
    return pa.table(columns)


def _to_builtins(value: pa.Scalar) -> Any:
    """Return a value of a JSON type, as Arrow's text if Python's type is too narrow (nanoseconds, distant years)."""
    try:
        return msgspec.to_builtins(value.as_py())
    except (ValueError, OverflowError):
        if pa.types.is_struct(value.type):
            return {name: _to_builtins(value[name]) for name in value}
        if pa.types.is_nested(value.type):
            return [_to_builtins(item) for item in value]
        return value.cast(pa.string()).as_py()


def memory_bytes(size: int, rows: int, *, mapped: bool) -> int:
    """Return the approximate bytes of memory of a chunk of ``size`` bytes. A mapped file does not count."""
    return (0 if mapped else size) + _TERM_BYTES * rows + _OBJECTS_BYTES


def _check_offsets(offsets: list[int], rows: int, key: str) -> None:
    if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != rows or np.any(np.diff(offsets) < 0):
        raise CorruptData(f"{key!r} has {rows} rows, but its cells begin at {offsets[:8]}")
