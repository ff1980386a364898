from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.llm.store_contract import entry

from vectorcache.errors import InvalidInput
from vectorcache_llm.kv.base import Entry
from vectorcache_llm.kv.records import from_record, to_record
from vectorcache_llm.scope import Scope

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
times = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.builds(
        Entry,
        st.builds(Scope, texts.filter(lambda text: text.isprintable() and text)),
        texts,
        st.binary(max_size=50),
        times,
        st.none() | times,
        st.frozensets(texts, max_size=3),
        st.dictionaries(texts, texts, max_size=3),
    )
)
def test_an_entry_round_trips_through_json(one: Entry) -> None:
    assert from_record(json.loads(json.dumps(to_record(one)))) == one


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"key": 1}, "record.key"),
        ({"value": "not base64!"}, "record.value"),
        ({"tags": [1]}, r"record.tags\[0\]"),
        ({"metadata": {"a": 1}}, r"record.metadata\[...\]"),
        ({"unknown": 1}, "record"),
        ({"tenant": ""}, "tenant"),
        ({"created_at": "yesterday"}, "record.created_at"),
    ],
)
def test_the_error_for_an_invalid_record_names_the_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        from_record({**to_record(entry("a")), **change})
