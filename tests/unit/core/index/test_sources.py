from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from tests.support.core.vector_search_contract import random_vectors

from vectorcache.errors import InvalidInput
from vectorcache.index import sources
from vectorcache.index.sources import Columns, Source, check_payload, open_source

VECTORS = random_vectors(10, 3)
IDS = [f"id-{row}" for row in range(10)]
TEXTS = [f"text {row}" for row in range(10)]


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


def table(vectors: pa.Array | None = None, **columns: object) -> pa.Table:
    fields = {"id": IDS, "vector": lists() if vectors is None else vectors, "text": TEXTS} | columns
    return pa.table({name: value for name, value in fields.items() if value is not None})


def lists(kind: pa.DataType | None = None) -> pa.Array:
    kind = kind or pa.list_(pa.float32())
    values = VECTORS.astype(kind.value_type.to_pandas_dtype())
    return pa.array(list(values), type=kind)


def write_fvecs(path: Path, vectors: NDArray[np.float32]) -> Path:
    rows = np.empty((len(vectors), vectors.shape[1] + 1), dtype="<i4")
    rows[:, 0] = vectors.shape[1]
    rows[:, 1:] = vectors.astype("<f4").view("<i4")
    rows.tofile(path)
    return path


def write_arrow(path: Path, data: pa.Table, *, stream: bool = False) -> Path:
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as file, make(file, data.schema) as writer:
        writer.write_table(data, max_chunksize=4)
    return path


def assert_plain(source: Source, vectors: NDArray[np.generic] = VECTORS) -> None:
    assert np.array_equal(source.vectors, vectors.astype(np.float32))
    assert source.ids.to_pylist() == list(range(len(vectors)))
    assert source.payload is None


def assert_whole(source: Source) -> None:
    assert np.array_equal(source.vectors, VECTORS)
    assert source.vectors.dtype == np.float32
    assert source.ids.to_pylist() == IDS
    assert source.payload is not None
    assert source.payload.to_pydict() == {"text": TEXTS}


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i4", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_any_number(tmp_path: Path, spool: Path, dtype: str, order: str) -> None:
    values = np.asarray(np.abs(VECTORS) * 10, dtype=dtype, order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "v.npy", values)
    assert_plain(open_source(tmp_path / "v.npy", spool), values)


def test_npy_of_float32_stays_on_disk_as_it_is(tmp_path: Path, spool: Path) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    source = open_source(str(tmp_path / "v.npy"), spool)
    assert isinstance(source.vectors, np.memmap)
    assert Path(str(source.vectors.filename)) == tmp_path / "v.npy"
    assert list(spool.iterdir()) == []


def test_what_is_converted_is_on_disk_once(tmp_path: Path, spool: Path) -> None:
    np.save(tmp_path / "v.npy", VECTORS.astype(np.float64))
    source = open_source(tmp_path / "v.npy", spool)
    assert isinstance(source.vectors, np.memmap)
    assert [path.stat().st_size for path in spool.iterdir()] == [VECTORS.nbytes]


def test_fvecs_stay_on_disk_as_they_are(tmp_path: Path, spool: Path) -> None:
    source = open_source(write_fvecs(tmp_path / "v.fvecs", VECTORS), spool)
    assert_plain(source)
    base: object = source.vectors
    assert isinstance(base, np.memmap)
    assert list(spool.iterdir()) == []


def test_an_array_is_not_copied(spool: Path) -> None:
    source = open_source(VECTORS, spool)
    assert_plain(source)
    assert np.shares_memory(source.vectors, VECTORS)


VECTOR_TYPES = [
    pa.list_(pa.float32()),
    pa.large_list(pa.float64()),
    pa.list_(pa.float32(), 3),
    pa.list_(pa.float64(), 3),
]


@pytest.mark.parametrize("kind", VECTOR_TYPES, ids=str)
def test_parquet(tmp_path: Path, spool: Path, kind: pa.DataType) -> None:
    pq.write_table(table(lists(kind)), tmp_path / "v.parquet", row_group_size=4)
    assert_whole(open_source(tmp_path / "v.parquet", spool))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", VECTOR_TYPES, ids=str)
def test_arrow(tmp_path: Path, spool: Path, kind: pa.DataType, stream: bool) -> None:
    assert_whole(open_source(write_arrow(tmp_path / "v.arrow", table(lists(kind)), stream=stream), spool))


def test_feather(tmp_path: Path, spool: Path) -> None:
    feather.write_feather(table(), tmp_path / "v.feather", compression="zstd")
    assert_whole(open_source(tmp_path / "v.feather", spool))


def test_a_table(spool: Path) -> None:
    assert_whole(open_source(table(), spool))
    assert_whole(open_source(pa.concat_tables([table().slice(0, 3), table().slice(3)]), spool))


@pytest.mark.parametrize("kind", [pa.float16(), pa.int16(), pa.uint8()], ids=str)
def test_lists_of_other_numbers(spool: Path, kind: pa.DataType) -> None:
    values = [[1, 2], [3, 4]]
    source = open_source(pa.table({"vector": pa.array(values, type=pa.list_(kind))}), spool)
    assert source.vectors.tolist() == values


def test_an_iterator_of_arrays(spool: Path) -> None:
    batches = (block for block in (VECTORS[:4], VECTORS[:0], VECTORS[4:].astype(np.float64)))
    assert_plain(open_source(batches, spool))


def test_an_iterator_of_record_batches(spool: Path) -> None:
    assert_whole(open_source(table().to_reader(max_chunksize=3), spool))
    empty = pa.RecordBatch.from_pylist([], schema=table().schema)
    assert_whole(open_source([*table().to_batches(4), empty], spool))


def test_only_one_batch_is_held(spool: Path) -> None:
    """A batch is gone when the next one is asked for."""
    alive: list[weakref.ref[np.ndarray]] = []

    def batches() -> Iterator[NDArray[np.float32]]:
        for _ in range(5):
            gc.collect()
            assert sum(one() is not None for one in alive) <= 1  # the one that the loop's name still holds
            block = VECTORS.copy()
            alive.append(weakref.ref(block))
            yield block
            del block

    assert len(open_source(batches(), spool).vectors) == 50


def test_columns_have_any_name(spool: Path) -> None:
    data = table().rename_columns(["key", "embedding", "text"])
    assert_whole(open_source(data, spool, columns=Columns(id="key", vector="embedding")))


def test_without_ids_the_row_is_the_id(spool: Path) -> None:
    source = open_source(table(id=None), spool)
    assert source.ids.to_pylist() == list(range(10))
    assert source.payload is not None
    assert source.payload.column_names == ["text"]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array(range(10), type=pa.int8()), list(range(10))),
        (pa.array(range(10), type=pa.uint64()), list(range(10))),
        (pa.array(IDS, type=pa.large_string()), IDS),
        (pa.array(IDS).dictionary_encode(), IDS),
        (pa.array(range(10)).dictionary_encode(), list(range(10))),
        (pa.chunked_array([IDS[:3], IDS[3:]]), IDS),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array | pa.ChunkedArray) else "",
)
def test_ids_are_integers_or_strings(spool: Path, ids: pa.Array, expected: list[object]) -> None:
    source = open_source(table(id=ids), spool)
    assert source.ids.to_pylist() == expected
    assert source.ids.type in (pa.int64(), pa.string())


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([*IDS[:9], IDS[2]], "^ids: 'id-2' .*occurs 2 times"),
        ([*range(9), 2], "^ids: 2 .*occurs 2 times"),
        ([*range(9), None], "^ids: None .*an id for every vector"),
        ([*IDS[:9], None], "^ids: None .*an id for every vector"),
        ([1.5] * 10, "^column id: 'double'.* integers or strings"),
        ([b"a"] * 10, "^column id: 'binary'"),
        (pa.array([2**63 + row for row in range(10)], type=pa.uint64()), "^column id: .*64-bit"),
    ],
)
def test_other_ids_are_refused(spool: Path, ids: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        open_source(table(id=ids), spool)


def test_attributes_come_from_a_table_or_a_file(tmp_path: Path, spool: Path) -> None:
    attributes = pa.table({"id": IDS, "text": TEXTS})
    pq.write_table(attributes, tmp_path / "a.parquet")
    write_arrow(tmp_path / "a.arrow", attributes)
    np.save(tmp_path / "v.npy", VECTORS)
    for given in (attributes, tmp_path / "a.parquet", str(tmp_path / "a.arrow")):
        assert_whole(open_source(tmp_path / "v.npy", spool, attributes=given))
    renamed = attributes.rename_columns(["word", "text"])
    assert_whole(open_source(VECTORS, spool, attributes=renamed, columns=Columns(id="word")))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (pa.table({"id": IDS[:9]}), "^attributes: '9 rows' .*10, one per vector"),
        ("missing.parquet", "^source: 'missing.parquet'"),
        ("missing.arrow", "^source: 'missing.arrow'"),
    ],
)
def test_attributes_that_do_not_fit_are_refused(spool: Path, attributes: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        open_source(VECTORS, spool, attributes=attributes)  # type: ignore[arg-type]


def test_batches_of_which_some_have_no_columns_are_refused(spool: Path) -> None:
    with pytest.raises(InvalidInput, match="^payload: '10 rows' .*20, one per vector"):
        open_source([VECTORS, *table(id=None).to_batches()], spool)


@pytest.mark.parametrize("batch_rows", [4, 100])
@pytest.mark.parametrize("kind", ["npy", "npy64", "fvecs", "array", "table", "iterator"])
def test_nan_is_named_by_its_row(
    tmp_path: Path, spool: Path, kind: str, batch_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BATCH_ROWS", batch_rows)
    bad = VECTORS.copy()
    bad[7, 1] = np.nan
    np.save(tmp_path / "npy.npy", bad)
    np.save(tmp_path / "npy64.npy", bad.astype(np.float64))
    write_fvecs(tmp_path / "fvecs.fvecs", bad)
    data = {
        "npy": tmp_path / "npy.npy",
        "npy64": tmp_path / "npy64.npy",
        "fvecs": tmp_path / "fvecs.fvecs",
        "array": bad,
        "table": table(pa.array(list(bad))),
        "iterator": iter([bad[:5], bad[5:]]),
    }[kind]
    field = "column vector" if kind == "table" else "vectors"
    with pytest.raises(InvalidInput, match=rf"^{field}\[7\]\[1\]: nan"):
        open_source(data, spool)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.empty((0, 3)), "^vectors: 'an empty set'"),
        (VECTORS[0], "^vectors: .*1 axes"),
        (np.empty((3, 0)), "^vectors: .*dimension 0"),
        (np.array([["1", "2"]]), "^vectors: .*numbers"),
        (table().slice(0, 0), "^vectors: 'an empty set'"),
        ([], "^vectors: 'an empty set'"),
        ([VECTORS[:0]], "^vectors: 'an empty set'"),
        ([VECTORS, VECTORS[:, :2]], "^vectors: .*dimension 2.*allowed: dimension 3"),
        (table(pa.array([[1.0, 2.0]] * 9 + [[1.0]])), "^column vector: 'lists of lengths .*one length"),
        (table(pa.array([[1.0]] * 9 + [None])), "^column vector: .*a list of numbers in every row"),
        (table(pa.array([[1.0]] * 9 + [[None]])), r"^column vector\[9\]\[0\]: nan"),
        (table(pa.array([["1"]] * 10)), "(?s)^column vector: .*numbers"),
        (table(pa.array(["a"] * 10)), "^column vector: 'string'.*a list of numbers"),
        (table(pa.array([[]] * 10, type=pa.list_(pa.float32()))), "^column vector: .*dimension 0"),
        (table().rename_columns(["id", "v", "text"]), "^vector column: 'vector' .*one of id, v, text"),
        ([*table().to_batches(), *table(text=None).to_batches()], "^source: 'batches of different columns'"),
    ],
)
def test_data_that_is_no_set_of_vectors_is_refused(spool: Path, data: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        open_source(data, spool)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.csv", b"1,2", "^source: .*ends in .npy, .fvecs, .parquet, .arrow, .feather"),
        ("v", b"", "^source: .*ends in"),
        ("v.npy", b"", "^source: .*npy"),
        ("v.npy", b"PK\3\4 not a npy", "^source: .*npy"),
        ("v.fvecs", b"", "^source: .*fvecs"),
        ("v.fvecs", b"\1\0\0", "^source: .*fvecs"),
        ("v.fvecs", np.array([2, 0, 0, 2, 0], dtype="<i4").tobytes(), "^source: .*one dimension"),
        ("v.fvecs", np.array([1, 0, 7, 0], dtype="<i4").tobytes(), "^source: .*dimension 1, like the first"),
        ("v.fvecs", np.array([-5, 0], dtype="<i4").tobytes(), "^source: .*fvecs"),
        ("v.parquet", b"PAR1 and no more", "^source: .*Parquet or Arrow"),
        ("v.parquet", b"", "^source: .*Parquet or Arrow"),
        ("v.arrow", b"ARROW1 and no more", "^source: .*Parquet or Arrow"),
        ("v.arrow", b"", "^source: .*Parquet or Arrow"),
        ("v.feather", b"FEA1", "^source: .*Parquet or Arrow"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, spool: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        open_source(tmp_path / name, spool)


def test_npy_of_objects_or_another_shape_is_refused(tmp_path: Path, spool: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([[None]]), allow_pickle=True)
    np.save(tmp_path / "one.npy", VECTORS[0])
    np.save(tmp_path / "text.npy", np.array([["1", "2"]]))
    np.savez(tmp_path / "z.npz", VECTORS)
    (tmp_path / "z.npz").rename(tmp_path / "z.npy")
    for name in ("o", "one", "text", "z"):
        with pytest.raises(InvalidInput):
            open_source(tmp_path / f"{name}.npy", spool)


def test_missing_files_are_refused(tmp_path: Path, spool: Path) -> None:
    with pytest.raises(InvalidInput, match="^source: .*an existing file"):
        open_source(tmp_path / "none.npy", spool)
    with pytest.raises(InvalidInput, match="^source: .*an existing file"):
        open_source(tmp_path, spool)


def test_blocks_cover_all_rows(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BATCH_ROWS", 4)
    blocks = list(open_source(VECTORS, spool).blocks())
    assert [(start, len(block)) for start, block in blocks] == [(0, 4), (4, 4), (8, 2)]
    assert np.array_equal(np.concatenate([block for _, block in blocks]), VECTORS)


def test_rows_are_read_in_any_order(tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BATCH_ROWS", 4)
    np.save(tmp_path / "a.npy", VECTORS)
    for data in (VECTORS, tmp_path / "a.npy"):
        for rows in ([9, 0, 3, 3, 8], [4], [], list(range(10))):
            read = open_source(data, spool).read(np.array(rows, dtype=np.int64))
            assert read.dtype == np.float32
            assert np.array_equal(read, VECTORS[rows])


def test_changes_of_a_copied_mapping_are_kept(tmp_path: Path, spool: Path) -> None:
    """Pages of such a mapping exist in memory only, once they were written."""
    np.save(tmp_path / "a.npy", VECTORS)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="c")
    mapped[3] = 7
    source = open_source(mapped, spool)
    assert (source.read(np.array([3])) == 7).all()
    assert (next(source.blocks())[1][3] == 7).all()


def test_attribute_bytes_count_ids_and_payload(spool: Path) -> None:
    assert open_source(VECTORS, spool).attribute_bytes == 80
    assert open_source(table(), spool).attribute_bytes >= sum(map(len, IDS + TEXTS))


@pytest.mark.parametrize("name", ["__row", "id", "vector"])
def test_payload_must_not_have_a_chunks_own_names(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"^payload column: '{name}'"):
        check_payload(pa.table({name: [1]}))
    check_payload(pa.table({"other": [1]}))
    check_payload(None)


def test_payload_must_not_have_a_name_twice() -> None:
    twice = pa.table({"a": [1]}).append_column("a", pa.array([2]))
    with pytest.raises(InvalidInput, match="^payload column: 'a' .*unique names"):
        check_payload(twice)
