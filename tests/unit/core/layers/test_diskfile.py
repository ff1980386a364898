from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorcache.errors import CorruptData
from vectorcache.layers.diskfile import file_name, file_weight, is_file_name, pack, unpack

FILE = pack("collection/a", b"payload")


@given(key=st.text(max_size=100), payload=st.binary(max_size=200))
def test_what_was_packed_is_unpacked(key: str, payload: bytes) -> None:
    assert unpack(key, pack(key, payload)) == payload


@pytest.mark.parametrize("position", range(len(FILE)))
def test_a_flipped_bit_anywhere_is_told(position: int) -> None:
    content = bytearray(FILE)
    content[position] ^= 1
    with pytest.raises(CorruptData, match="collection/a"):
        unpack("collection/a", bytes(content))


@pytest.mark.parametrize("length", range(len(FILE)))
def test_a_truncated_file_is_told(length: int) -> None:
    with pytest.raises(CorruptData):
        unpack("collection/a", FILE[:length])


def test_a_file_with_something_behind_it_is_told() -> None:
    with pytest.raises(CorruptData, match="8 bytes of payload, not 7"):
        unpack("collection/a", FILE + b"x")


@pytest.mark.parametrize("key", ["collection/b", "collection/", "collection/a/b", ""])
def test_the_file_of_another_key_is_told(key: str) -> None:
    with pytest.raises(CorruptData):
        unpack(key, FILE)


@given(key=st.text(max_size=2000))
def test_every_key_has_a_file_name(key: str) -> None:
    assert is_file_name(file_name(key))


def test_file_names_differ_and_last() -> None:
    assert len({file_name(f"collection/{number}") for number in range(10_000)}) == 10_000
    assert file_name("collection/v7/chunks/000042.arrow") == "ae8609b3c5fe72a2eee95afbc2afdb6b"


@pytest.mark.parametrize("name", ["", "a" * 31, "a" * 33, "g" * 32, "A" * 32, "a/" + "a" * 30])
def test_other_names_are_foreign(name: str) -> None:
    assert not is_file_name(name)


@pytest.mark.parametrize(("size", "weight"), [(0, 0), (1, 4096), (4096, 4096), (4097, 8192)])
def test_a_file_weighs_whole_blocks(size: int, weight: int) -> None:
    assert file_weight(size) == weight
