from __future__ import annotations

import ctypes
import datetime
import decimal
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from tests.support.core.chunks import make_chunk
from tests.support.core.vector_search_contract import random_vectors

from vectorcache.errors import CorruptData
from vectorcache.index.chunk import Chunk, ChunkCodec, Header, encode_chunk
from vectorcache.vectors.arrow import read_ipc, write_ipc
from vectorcache.vectors.codes import section_bytes
from vectorcache.vectors.metric import METRICS, Floats, Metric, largest_norm
from vectorcache.vectors.slab import Slab

CODEC = ChunkCodec()
KEY = "words/v1/chunks/000000.arrow"


def sample(metric: str = "euclidean") -> Chunk:
    payload = pa.table({"text": ["a", None, "ccc", "dd"], "tags": [["x"], [], None, ["y", "z"]]})
    return make_chunk(
        random_vectors(4, 3),
        [1, 0, 3],
        rows=[9, 4, 2**40, 0],
        ids=["nine", "four", "ü", ""],
        payload=payload,
        first_cell=7,
        metric=metric,
    )


def assert_usable(chunk: Chunk) -> None:
    """Everything that a search does with a chunk works without an error."""
    for position in range(len(chunk)):
        json.dumps([chunk.id_at(position), chunk.payload_at(position)])
    assert len(chunk.terms) == len(chunk.vectors) == len(chunk.rows) == chunk.header.offsets[-1]
    assert len(chunk.cells) == len(chunk.header.offsets) - 1
    assert np.isfinite(chunk.largest_norm)


@pytest.mark.parametrize("metric", METRICS)
def test_comes_back_as_it_was(metric: str) -> None:
    chunk = sample(metric)
    back = CODEC.decode(KEY, CODEC.encode(KEY, chunk))
    assert back.header == Header(metric=metric, first_cell=7, offsets=[0, 1, 1, 4])
    assert list(back.cells) == [7, 8, 9]
    assert back.rows.tolist() == [9, 4, 2**40, 0]
    assert back.vectors.tolist() == chunk.vectors.tolist()
    assert back.terms.tolist() == METRICS[metric].row_terms(chunk.vectors).tolist()
    assert back.largest_norm == largest_norm(chunk.vectors)
    assert [back.id_at(at) for at in range(4)] == ["nine", "four", "ü", ""]
    assert back.payload_at(3) == {"text": "dd", "tags": ["y", "z"]}
    assert back.payload_at(1) == {"text": None, "tags": []}
    assert_usable(back)


def test_integer_ids_stay_integers() -> None:
    chunk = make_chunk(random_vectors(2, 3), ids=[-(2**63), 2**63 - 1])
    back = CODEC.decode(KEY, CODEC.encode(KEY, chunk))
    assert [back.id_at(0), back.id_at(1)] == [-(2**63), 2**63 - 1]
    assert back.payload_at(0) == {}


def test_a_chunk_is_one_block_of_its_slab_for_as_long_as_a_view_of_it_lives() -> None:
    data = CODEC.encode(KEY, sample())
    slab = Slab(region_bytes=4 * len(data) + 1024)
    codec = ChunkCodec(slab)
    chunk = codec.decode(KEY, data)
    assert not chunk.vectors.flags.writeable
    vectors, before = chunk.vectors, chunk.vectors.copy()
    del chunk
    others = [codec.decode(KEY, data) for _ in range(100)]
    assert slab.bytes > 100 * len(data)
    del others
    for _ in range(100):
        codec.decode(KEY, data)
    assert slab.bytes <= 2 * (4 * len(data) + 1024)
    np.testing.assert_array_equal(vectors, before)


def test_knows_about_what_it_weighs() -> None:
    chunk = make_chunk(random_vectors(1000, 64))
    assert 1000 * (64 * 4 + 8 + 8 + 4) <= chunk.nbytes <= 1000 * (64 * 4 + 8 + 8 + 4) + 10_000


UTC = datetime.UTC
SECOND = 10**9


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([None]), None),
        (pa.array([True]), True),
        (pa.array([2**64 - 1], type=pa.uint64()), 2**64 - 1),
        (pa.array([1.5], type=pa.float16()), 1.5),
        (pa.array([b"ab"]), "YWI="),
        (pa.array([b"ab"], type=pa.binary(2)), "YWI="),
        (pa.array([decimal.Decimal("1.50")]), "1.50"),
        (pa.array([datetime.date(2020, 2, 29)]), "2020-02-29"),
        (pa.array([datetime.time(1, 2, 3)]), "01:02:03"),
        (pa.array([datetime.datetime(2020, 1, 2, 3, 4, 5)]), "2020-01-02T03:04:05"),
        (pa.array([datetime.datetime(2020, 1, 2, tzinfo=UTC)]), "2020-01-02T00:00:00Z"),
        (pa.array([datetime.timedelta(days=1, seconds=2)]), "P1DT2S"),
        (pa.array([SECOND], type=pa.timestamp("ns")), "1970-01-01T00:00:01"),
        (pa.array([SECOND + 1], type=pa.timestamp("ns")), "1970-01-01 00:00:01.000000001"),
        (pa.array([1], type=pa.time64("ns")), "00:00:00.000000001"),
        (pa.array([1], type=pa.duration("ns")), "1"),
        (pa.array([[1, None]], type=pa.list_(pa.timestamp("ns"))), ["1970-01-01 00:00:00.000000001", None]),
        (pa.array([{"a": [1], "b": 2}], type=pa.struct({"a": pa.list_(pa.duration("ns")), "b": pa.int8()})),
         {"a": ["1"], "b": 2}),
        (pa.array([(1, 2, 3)], type=pa.month_day_nano_interval()), [1, 2, 3]),
        (pa.array([{"a": {"b": [b"x"]}}]), {"a": {"b": ["eA=="]}}),
        (pa.array([[("a", 1)]], type=pa.map_(pa.string(), pa.int8())), [["a", 1]]),
        (pa.array(["x"]).dictionary_encode(), "x"),
        (pa.array(["x"], type=pa.large_string()), "x"),
        (pa.array([[1.0, 2.0]], type=pa.list_(pa.float32(), 2)), [1.0, 2.0]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)  # fmt: skip
def test_payload_is_what_json_and_msgpack_share(array: pa.Array, expected: object) -> None:
    chunk = make_chunk(random_vectors(1, 3), payload=pa.table({"field": array}))
    payload = CODEC.decode(KEY, CODEC.encode(KEY, chunk)).payload_at(0)
    assert json.loads(json.dumps(payload)) == {"field": expected}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(payload)) == {"field": expected}


@pytest.mark.parametrize("kind", [pa.timestamp("s"), pa.date64()], ids=str)
def test_payload_beyond_the_years_of_python_is_text(kind: pa.DataType) -> None:
    chunk = make_chunk(random_vectors(1, 3), payload=pa.table({"field": pa.array([2**62], type=kind)}))
    assert isinstance(chunk.payload_at(0)["field"], str)


def header(**change: object) -> bytes:
    fields: dict[str, object] = {"format": 2, "metric": "dot", "first_cell": 0, "offsets": [0, 2]}
    return msgspec.json.encode(fields | change)


def columns(**change: object) -> dict[str, object]:
    vectors = pa.array([[1, 2], [3, 4]], type=pa.list_(pa.float32(), 2))
    row = pa.array([0, 1], type=pa.int64())
    fields = {"__row": row, "id": ["a", "b"], "vector": vectors} | change
    return {name: value for name, value in fields.items() if value is not None}


def blob(fields: dict[str, object], metadata: bytes | None) -> bytes:
    table = pa.table(fields)
    return write_ipc(table.replace_schema_metadata({b"vectorcache": metadata} if metadata else None))


def test_the_bytes_that_bad_ones_are_made_of_are_good() -> None:
    assert_usable(CODEC.decode(KEY, blob(columns(), header())))


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        b"",
        b"[]",
        b"\xff",
        b"{}",
        header(format=1),
        header(format="1"),
        header(metric="l1"),
        header(first_cell=None),
        header(offsets=[]),
        header(offsets=[0]),
        header(offsets=[0, 1]),
        header(offsets=[0, 3]),
        header(offsets=[1, 2]),
        header(offsets=[0, 3, 2]),
        header(offsets=[0, -1, 2]),
        header(offsets=[0, 1.5, 2]),
        b'{"format":2,"metric":"dot","first_cell":0,"offsets":[0,%d,2]}' % 2**70,
    ],
)
def test_other_metadata_is_corrupt(metadata: bytes | None) -> None:
    with pytest.raises(CorruptData, match=KEY):
        CODEC.decode(KEY, blob(columns(), metadata))


@pytest.mark.parametrize(
    "fields",
    [
        columns(__row=None),
        columns(id=None),
        columns(vector=None),
        columns(__row=pa.array([0, 1], type=pa.int32())),
        columns(__row=[0.0, 1.0]),
        columns(__row=pa.array([0, None], type=pa.int64())),
        columns(id=["a", None]),
        columns(id=[1.0, 2.0]),
        columns(id=[b"a", b"b"]),
        columns(vector=[[1.0, 2.0], [3.0, 4.0]]),
        columns(vector=["a", "b"]),
        columns(vector=pa.array([[1, 2], [3, 4]], type=pa.list_(pa.float64(), 2))),
        columns(vector=pa.array([[1, 2], None], type=pa.list_(pa.float32(), 2))),
        columns(vector=pa.array([[1, 2], [None, 4]], type=pa.list_(pa.float32(), 2))),
        columns(vector=pa.array([[1, 2], [float("nan"), 4]], type=pa.list_(pa.float32(), 2))),
        columns(vector=pa.array([[1, 2], [3e38, 4]], type=pa.list_(pa.float32(), 2))),
        columns(vector=pa.array([[1, 2], [float("inf"), 4]], type=pa.list_(pa.float32(), 2))),
        columns(vector=pa.array([[], []], type=pa.list_(pa.float32(), 0))),
    ],
)
def test_other_columns_are_corrupt(fields: dict[str, object]) -> None:
    with pytest.raises(CorruptData, match=KEY):
        CODEC.decode(KEY, blob(fields, header()))


def test_columns_that_stand_there_twice_are_corrupt() -> None:
    table = pa.table(columns())
    twice = table.append_column("id", table.column("id"))
    with pytest.raises(CorruptData, match=KEY):
        CODEC.decode(KEY, write_ipc(twice.replace_schema_metadata({b"vectorcache": header()})))


def decode_anything(data: bytes) -> bool:
    """Whether the bytes are a chunk; if so, it can be used, and if not, it is said as it should be."""
    try:
        chunk = CODEC.decode(KEY, data)
    except CorruptData:
        return False
    assert_usable(chunk)
    return True


def test_truncated_bytes_are_corrupt() -> None:
    data = CODEC.encode(KEY, sample())
    for length in range(0, len(data), 7):
        with pytest.raises(CorruptData, match=KEY):
            CODEC.decode(KEY, data[:length])


@pytest.mark.parametrize(
    "damage",
    [
        lambda data, random: bytearray(data[:1]) * len(data),
        lambda data, random: bytearray(random.bytes(len(data))),
        lambda data, random: bytearray(b"ARROW1\0\0") + random.bytes(200) + b"ARROW1",
        lambda data, random: bytearray(data + data),
    ],
    ids=["one byte", "random", "random between the marks", "twice"],
)
def test_foreign_bytes_are_corrupt(damage: Callable[[bytes, np.random.Generator], bytearray]) -> None:
    data = CODEC.encode(KEY, sample())
    random = np.random.default_rng(0)
    for _ in range(20):
        decode_anything(bytes(damage(data, random)))


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_flipped_byte_is_never_worse_than_corrupt(flip: int) -> None:
    """Arrow would read outside of its buffers if it were let: every byte of ids, payload and metadata matters."""
    data = CODEC.encode(KEY, sample())
    seen = set()
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= flip
        seen.add(decode_anything(bytes(damaged)))
    assert seen == {
        True,
        False,
    }  # a flipped bit of a vector cannot be seen here; the disk layer's checksum can


def test_encoding_is_one_record_batch() -> None:
    table = pa.concat_tables([pa.table(columns()), pa.table(columns(__row=pa.array([2, 3])))])
    data = encode_chunk(table, Header(metric="dot", first_cell=0, offsets=[0, 4]))
    assert all(column.num_chunks == 1 for column in read_ipc(data, KEY).columns)
    assert CODEC.decode(KEY, data).rows.tolist() == [0, 1, 2, 3]


def test_a_chunk_may_be_empty() -> None:
    chunk = make_chunk(np.empty((0, 3), dtype=np.float32), [0, 0])
    back = CODEC.decode(KEY, CODEC.encode(KEY, chunk))
    assert (len(back), list(back.cells), back.largest_norm) == (0, [0, 1], 0.0)


@pytest.mark.parametrize("metric", METRICS)
def test_codes_come_back_as_they_were_and_stand_beside_the_vectors(metric: str) -> None:
    chunk = make_chunk(random_vectors(70, 20), [40, 0, 30], first_cell=3, metric=metric, bits=4)
    data = CODEC.encode(KEY, chunk)
    back = CODEC.decode(KEY, data)
    assert back.header == chunk.header
    assert back.header.code_width == 10
    written = coded_section(chunk)
    assert len(written) == section_bytes(70, 3, 20, 10)
    assert coded_section(back) == written
    assert back.addresses[5] == 3
    assert back.payload_at(0) == {}
    assert data.index(written) < data.index(chunk.vectors.tobytes())  # two ranges of the file
    assert CODEC.encode(KEY, back) == data


def coded_section(chunk: Chunk) -> bytes:
    """What the kernel reads by address: centroids and codes."""
    codes, centroids = chunk.addresses[3:5]
    cells, dimension = len(chunk.cells), chunk.vectors.shape[1]
    assert codes == centroids + 4 * cells * dimension
    size = section_bytes(len(chunk), cells, dimension, chunk.header.code_width)
    return ctypes.string_at(centroids, size)


@pytest.mark.parametrize(
    ("codes", "width"),
    [
        (None, 1),
        ([b"", b""], 1),
        ([b"x" * 424, b""], 2),
        ([b"x" * 423, b""], 1),
        ([b"x" * 425, b""], 1),
        ([b"", b"x" * 424], 1),
        ([b"x" * 424, None], 1),
        ([b"x" * 424, b""], -1),
        (["x" * 424, ""], 1),
    ],
)
def test_codes_of_another_size_are_corrupt(codes: list[bytes] | None, width: int) -> None:
    """One cell of two components, and a block of 32 rows: 8 + 32 (12 + 1) bytes."""
    assert section_bytes(2, 1, 2, 1) == 424
    with pytest.raises(CorruptData, match=KEY):
        CODEC.decode(KEY, blob(columns(__codes=codes), header(code_width=width)))
    assert CODEC.decode(KEY, blob(columns(__codes=[b"x" * 424, b""]), header(code_width=1))).addresses[3]


def test_a_chunk_without_rows_has_no_codes() -> None:
    chunk = make_chunk(np.empty((0, 3), dtype=np.float32), [0, 0], bits=1)
    assert CODEC.decode(KEY, CODEC.encode(KEY, chunk)).addresses[3:5] == (0, 0)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("bits", [None, 2])
def test_over_a_mapped_file_nothing_is_read_or_copied(metric: str, bits: int | None) -> None:
    ids = [str(at) for at in range(500)]
    chunk = make_chunk(random_vectors(500, 64), [300, 200], metric=metric, bits=bits, ids=ids)
    data = CODEC.encode(KEY, chunk)
    mapped = CODEC.map(KEY, memoryview(data))
    start = np.frombuffer(data, dtype=np.uint8).ctypes.data
    vectors, terms, *others, first_cell = mapped.addresses
    for address in (vectors, *others):
        assert start <= address < start + len(data) or (bits is None and address == 0)
    assert (terms, first_cell, mapped.terms) == (0, 0, None)
    assert bits is None or coded_section(mapped) == coded_section(chunk)
    assert mapped.nbytes < 500 * 4 + 10_000 < chunk.nbytes / 4
    assert (mapped.id_at(7), mapped.rows[7], mapped.vectors[7].tolist()) == (
        "7",
        7,
        chunk.vectors[7].tolist(),
    )
    for _ in range(2):
        assert mapped.measure().tolist() == METRICS[metric].row_terms(chunk.vectors).tolist()
        assert mapped.largest_norm == chunk.largest_norm
        assert mapped.terms is not None
        assert mapped.addresses[1] == mapped.terms.ctypes.data


def test_chunks_with_codes_are_best_mapped() -> None:
    assert CODEC.mappable
    assert CODEC.prefers_mapping(make_chunk(random_vectors(4, 8), bits=1))
    assert not CODEC.prefers_mapping(make_chunk(random_vectors(4, 8)))


def test_threads_that_measure_a_chunk_at_once_compute_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan reads the terms by address: a second array in their place would free what it reads."""
    chunk = make_chunk(random_vectors(50, 8), bits=2)
    mapped = CODEC.map(KEY, memoryview(CODEC.encode(KEY, chunk)))
    euclidean = type(METRICS["euclidean"])
    calls, entered, release = [], Event(), Event()
    row_terms = euclidean.row_terms

    def slow(metric: Metric, vectors: Floats) -> Floats:
        calls.append(1)
        entered.set()
        assert release.wait(10)
        return row_terms(metric, vectors)

    monkeypatch.setattr(euclidean, "row_terms", slow)
    with ThreadPoolExecutor(3) as threads:
        measured = [threads.submit(mapped.measure) for _ in range(3)]
        assert entered.wait(10)
        assert mapped.terms is None
        assert mapped.addresses[1] == 0
        release.set()
        terms = [one.result() for one in measured]
    assert len(calls) == 1
    assert all(one is mapped.terms for one in terms)
    assert mapped.addresses[1] == terms[0].ctypes.data
