from __future__ import annotations

import pytest

from vectorcache.errors import InvalidInput
from vectorcache_llm.scope import EVERYTHING, MAX_CHARACTERS, Scope, Selection

LONG = "x" * (MAX_CHARACTERS + 1)


@pytest.mark.parametrize("value", ["a\nb", "a\0", "\ud800", LONG, 1, None])
@pytest.mark.parametrize(("part", "field"), [("tenant", "tenant"), ("user", "user"), ("name", "scope")])
def test_the_parts_of_a_scope_are_checked(part: str, field: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}: .*printable"):
        Scope(**{part: value})


def test_a_tenant_is_never_empty() -> None:
    with pytest.raises(InvalidInput, match="tenant"):
        Scope("")


@pytest.mark.parametrize(
    ("part", "value", "field"),
    [
        ("tenant", "\ud800", "tenant"),
        ("tenant", 1, "tenant"),
        ("user", "a\0", "user"),
        ("name", LONG, "scope"),
        ("pattern", b"a*", "pattern"),
        ("tags", "red", "tags"),
        ("tags", ["red"], "tags"),
        ("created_before", "yesterday", "created_before"),
    ],
)
def test_the_conditions_of_a_selection_are_checked(part: str, value: object, field: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}: "):
        Selection(**{part: value})


SCOPE = Scope("t", "u", "n")


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (EVERYTHING, True),
        (Selection.of(SCOPE), True),
        (Selection.of(Scope("t", "u")), False),
        (Selection(tenant="T"), False),
        (Selection(user=""), False),
        (Selection(pattern="k*"), True),
        (Selection(pattern="*text"), True),
        (Selection(pattern="K*"), False),
        (Selection(tags=frozenset({"red", "x"})), True),
        (Selection(tags=frozenset({"x"})), False),
        (Selection(created_before=10.0), False),
        (Selection(created_before=10.1), True),
        (Selection(tenant="t", pattern="k*", tags=frozenset({"x"})), False),
    ],
)
def test_an_entry_meets_every_condition(selection: Selection, expected: bool) -> None:
    assert selection.matches(SCOPE, 10.0, frozenset({"red", "big"}), "key", "a text") is expected
