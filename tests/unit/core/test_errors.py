from __future__ import annotations

from vectorcache.errors import InvalidInput


def test_says_field_value_and_what_is_allowed() -> None:
    error = InvalidInput("k", 0, "1 to 10")
    assert str(error) == "k: 0 is not allowed; allowed: 1 to 10"
    assert (error.field, error.value, error.allowed) == ("k", 0, "1 to 10")


def test_a_long_value_is_cut_in_its_middle() -> None:
    text = str(InvalidInput("source", "/folder" * 40 + "/vectors.npy", "a file"))
    assert text.startswith("source: '/folder/folder")
    assert "…" in text
    assert "/folder/vectors.npy' is not allowed" in text
    assert len(text) < 130
