"""The encoding of entries, and digests as names."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.llm.index_contract import entry, same, vectors

from vectorcache.errors import CorruptData
from vectorcache_llm.scope import Scope
from vectorcache_llm.similarity.base import Partition
from vectorcache_llm.similarity.codec import (
    decode_entry,
    digest,
    embedder_digest,
    encode_entry,
    encode_rest,
    identity_digest,
    partition_digest,
    vector_bytes,
)
from vectorcache_llm.similarity.redis.names import Names, encode_name

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = texts.filter(str.isprintable)


@given(
    texts,
    st.binary(max_size=50),
    st.floats(0, 1e18),
    st.none() | st.floats(0, 1e18),
    st.frozensets(texts),
    names,
)
def test_an_entry_round_trips(
    text: str, payload: bytes, created: float, end: float | None, tags: frozenset[str], name: str
) -> None:
    place = Partition(Scope("t" + name, name), name)
    one = entry(
        "a", vectors(1)[0], place, text=text, payload=payload, created_at=created, expires_at=end, tags=tags
    )
    assert same(decode_entry(encode_entry(one)), one)
    assert same(decode_entry(encode_rest(one), one.text, vector_bytes(one)), one)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: b"", lambda data: b"\x01", lambda data: data[:5]]
)
def test_other_bytes_are_corrupt(change: object) -> None:
    data = encode_entry(entry("a", vectors(1)[0]))
    with pytest.raises(CorruptData, match="cannot be read"):
        decode_entry(change(data))  # type: ignore[operator]


def test_a_truncated_vector_is_corrupt() -> None:
    one = entry("a", vectors(1)[0])
    with pytest.raises(CorruptData):
        decode_entry(encode_rest(one), one.text, vector_bytes(one)[:-1])
    with pytest.raises(CorruptData):
        decode_entry(msgspec.msgpack.encode(["", "", "", "", "", 0.0, None, [], {}, b"", "", b""]))


def test_digests_distinguish_parts_that_joined_strings_would_not() -> None:
    parts = [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc"), ('a","b', "c"), ("a,b", "c")]
    assert len({digest(*one) for one in parts}) == len(parts)
    scopes = [Scope("t", "u", "n"), Scope("tu", "", "n"), Scope("t", "un"), Scope("t", "", "un")]
    assert len({partition_digest(Partition(scope, "c")) for scope in scopes}) == 4
    assert len({identity_digest(scope, "c") for scope in scopes}) == 4
    assert embedder_digest("f", 4) != embedder_digest("f", 5)


@given(names, names)
def test_encoded_names_are_injective_and_have_no_special_characters(one: str, other: str) -> None:
    assert (encode_name(one) == encode_name(other)) is (one == other)
    assert encode_name(one).replace("_", "a").isalnum()
    assert encode_name(one).isascii()


def test_names_of_all_kinds_differ() -> None:
    first, second = Names("p", "f", 4), Names("p", "g", 4)
    keys = [
        first.index,
        first.ends,
        first.vector_set("x"),
        first.entry(Scope("x"), "x"),
        first.entry(Scope("y"), "x"),
    ]
    keys += [second.index, second.entry(Scope("x"), "x")]
    assert not any(one.startswith(other) for one, other in itertools.permutations(keys, 2))
    assert first.entry(Scope("a:b"), "x").startswith("p:a_3ab:")


def test_digests_of_stored_names_are_stable() -> None:
    """Changed digests would make stored entries unreachable for look-ups and deletions."""
    assert digest("a", "é") == "19f64fd26d5dde9d66af2e853f042a38"
    assert identity_digest(Scope("t", "u", "n"), "id") == "6c928c53adf4ee0b7d2f4b1dfd0cd909"
