from __future__ import annotations

import pytest

from vectorcache_llm.response.guard.lexicon import LONGEST_WORD
from vectorcache_llm.response.guard.tokens import Token, tokens_of


def by_writing(text: str) -> dict[str, Token]:
    return {token.written: token for token in tokens_of(text)}


@pytest.mark.parametrize(
    ("text", "lowers"),
    [
        ("What's the user's e-mail?", ["what", "the", "user", "e_mail"]),
        ("Does the US use C++ or C#", ["does", "the", "usa", "use", "c++", "or", "c#"]),
        ("std::sort, a.b@c.d", ["std::sort", "a.b@c.d"]),
    ],
)
def test_words_are_in_lower_case_without_clitics(text: str, lowers: list[str]) -> None:
    assert [token.lower for token in tokens_of(text)] == lowers


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,000 and 2.50 and -3", ["1000", "2.50", "-3"]),
        ("5k for twenty one", ["5000", "21"]),
        ("the 3rd of 1999-12-31", ["3", "31", "1999"]),
        ("a 3D printer", []),
    ],
)
def test_numbers_have_one_normal_form(text: str, values: list[str]) -> None:
    assert [token.value for token in tokens_of(text) if token.value] == values


def test_a_capital_makes_a_name_within_a_sentence_only() -> None:
    tokens = by_writing("Paris is nice. Ask Bert about Go")
    assert {written for written, token in tokens.items() if token.is_name} == {"Bert", "Go"}
    assert tokens["Go"].content_word == "go"
    assert by_writing("go there")["go"].content_word == ""


def test_capitals_in_title_case_do_not_make_names() -> None:
    assert not any(token.is_name for token in tokens_of("The Best Way To Cook Rice"))


@pytest.mark.parametrize(
    ("text", "unit"), [("5 ml", True), ("in ml", True), ("learn ml", False), ("ML", False)]
)
def test_short_units_need_a_number_or_a_preposition(text: str, unit: bool) -> None:
    assert bool(tokens_of(text)[-1].word.unit) == unit


def test_tokens_of_words_are_cached_unless_very_long() -> None:
    long = "x" * (LONGEST_WORD + 1)
    (word, endless), (again, once_more) = tokens_of(f"printer {long}"), tokens_of(f"printer {long}")
    assert word is again
    assert endless is not once_more
    assert endless.content_word == long
