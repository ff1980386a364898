from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.core.file_store_contract import BAD_NAMES

from vectorcache.errors import InvalidInput
from vectorcache.stores.names import (
    MAX_NAME,
    MAX_PART,
    check_conditions,
    check_folder,
    check_key,
    check_name,
    check_offset,
    check_prefix,
    check_range,
    is_part,
)

CHARACTERS = set(string.ascii_letters + string.digits + "._-")

near_names = st.text("ab.-_/ \0\n\\ä:~%", max_size=12)
parts = st.text(sorted(CHARACTERS), min_size=1, max_size=10).filter(lambda part: part[0] != ".")
names = st.lists(parts, min_size=1, max_size=4).map("/".join)


def is_name(text: str) -> bool:
    """The rule of FileStore's docstring, once more and without a regular expression."""
    found = text.split("/")
    return all(part and part[0] != "." and set(part) <= CHARACTERS for part in found)


@given(near_names | st.text(max_size=20))
def test_accepts_exactly_what_the_rule_says(text: str) -> None:
    if is_name(text):
        check_name(text)
    else:
        with pytest.raises(InvalidInput) as caught:
            check_name(text)
        assert (caught.value.field, caught.value.value) == ("name", text)


@given(names)
def test_a_name_stays_below_its_folder(name: str) -> None:
    check_name(name)
    folder = Path("/folder")
    assert (folder / name).resolve().relative_to(folder).as_posix() == name


@given(names, st.integers(0, 50))
def test_each_beginning_of_a_key_is_a_prefix(name: str, length: int) -> None:
    check_prefix(name[:length])


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if name not in ("", "a/")])
def test_what_no_key_begins_with_is_no_prefix(name: str) -> None:
    for check in (check_prefix, check_folder):
        with pytest.raises(InvalidInput, match=r"^prefix: ") as caught:
            check(name)
        assert caught.value.value == name


def test_a_folder_ends_in_a_slash() -> None:
    check_folder("")
    check_folder("a/b/")
    with pytest.raises(InvalidInput, match="'/'"):
        check_folder("a/b")


def test_lengths_are_bounded() -> None:
    check_name("a" * MAX_PART)
    with pytest.raises(InvalidInput):
        check_name("a" * (MAX_PART + 1))
    longest = "/".join(["a" * (MAX_PART - 1)] * 4) + "/" + "b" * (MAX_NAME - 4 * MAX_PART)
    assert len(longest) == MAX_NAME
    check_name(longest)
    with pytest.raises(InvalidInput):
        check_name(longest + "b")


def test_a_part_has_no_slash() -> None:
    assert is_part("a.b")
    assert not is_part("a/b")
    assert not is_part(".tmp")


def test_a_key_is_named_so() -> None:
    with pytest.raises(InvalidInput, match=r"^key: '\.\.' is not allowed; allowed: parts of 1 to 255"):
        check_key("..")


def test_ranges() -> None:
    check_range(0, None)
    check_range(5, 1)
    for offset, length in ((-1, None), (0, 0), (0, -1)):
        with pytest.raises(InvalidInput):
            check_range(offset, length)


def test_offsets_are_inside_the_content() -> None:
    check_offset(0, 0)
    check_offset(9, 10)
    with pytest.raises(InvalidInput, match="less than the size of the blob, 10"):
        check_offset(10, 10)


def test_conditions_exclude_each_other() -> None:
    check_conditions(None, True)
    check_conditions("x", False)
    with pytest.raises(InvalidInput):
        check_conditions("x", True)
