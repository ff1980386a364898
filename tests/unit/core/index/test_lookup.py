from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from vectorcache.errors import CorruptData
from vectorcache.index import lookup
from vectorcache.index.lookup import LookupCodec, LookupShard, Place, make_shards, shard_count, shard_of
from vectorcache.vectors.arrow import write_ipc

CODEC = LookupCodec()


def make(ids: pa.Array) -> list[LookupShard]:
    numbers = np.arange(len(ids), dtype=np.int32)
    return make_shards(ids, numbers // 7, numbers % 7)


@pytest.mark.parametrize(
    "ids", [list(range(-50, 450)), [f"wörd {n}" for n in range(500)]], ids=["int", "str"]
)
def test_every_id_is_found_in_its_shard(ids: list[int | str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "SHARD_IDS", 60)
    shards = [CODEC.decode("key", CODEC.encode("key", shard)) for shard in make(pa.array(ids))]
    assert len(shards) == 9
    for row, value in enumerate(ids):
        shard = shards[shard_of(value, 9)]
        assert shard.find([value]) == [Place(row // 7, row % 7)]


def test_answers_in_the_order_of_the_question() -> None:
    (shard,) = make(pa.array(["a", "b", "c"]))
    assert shard.find(["c", "x", "a", "c", ""]) == [Place(0, 2), None, Place(0, 0), Place(0, 2), None]
    assert shard.find([]) == []


def test_an_id_of_another_type_is_not_found_and_hides_no_other() -> None:
    (words,) = make(pa.array(["1", "2"]))
    (numbers,) = make(pa.array([1, 2]))
    assert words.find([1, "2", 2**70]) == [None, Place(0, 1), None]
    assert numbers.find(["1", 2, 2**70, -(2**63)]) == [None, Place(0, 1), None, None]


def test_an_empty_shard_finds_nothing() -> None:
    (shard,) = make(pa.array([], type=pa.string()))
    assert CODEC.decode("key", CODEC.encode("key", shard)).find(["a"]) == [None]


@pytest.mark.parametrize(("vectors", "shards"), [(0, 1), (1, 1), (16_384, 1), (16_385, 2), (400_000, 25)])
def test_shards_have_a_size(vectors: int, shards: int) -> None:
    assert shard_count(vectors) == shards


def test_the_hash_never_changes() -> None:
    """It stands in what builds have written."""
    assert [shard_of(value, 1000) for value in ("the", "ü", 0, -1, "0")] == [572, 369, 64, 650, 64]


GOOD = {"id": ["a"], "chunk": np.array([0], dtype=np.int32), "position": np.array([0], dtype=np.int32)}


@pytest.mark.parametrize(
    "change",
    [
        {"id": [1.5]},
        {"id": [None]},
        {"chunk": [0]},
        {"chunk": pa.array([None], type=pa.int32())},
        {"position": ["a"]},
        {"position": None},
    ],
)
def test_other_tables_are_corrupt(change: dict[str, object]) -> None:
    fields = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(CorruptData, match="'the/key'"):
        CODEC.decode("the/key", write_ipc(pa.table(fields)))


def test_a_flipped_byte_is_never_worse_than_corrupt() -> None:
    (shard,) = make(pa.array(["one", "two", "three"]))
    data = CODEC.encode("key", shard)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        try:
            CODEC.decode("key", bytes(damaged)).find(["one", "two", "x"])
        except CorruptData:
            continue
    with pytest.raises(CorruptData):
        CODEC.decode("key", data[:-1])
