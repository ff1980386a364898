"""A request's normal form, key, context and question."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorcache.errors import InvalidInput
from vectorcache_llm.response import Request
from vectorcache_llm.scope import Scope

SCOPE = Scope("acme", "ann", "app")
TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi!"},
    {"role": "user", "content": "How are you?"},
]


def request(turns: Any = None, **settings: Any) -> Request:
    given: dict[str, Any] = {"model": "m", "parameters": {"temperature": 0.5}, "tools": [{"name": "t"}]}
    return Request(turns or TURNS, **(given | settings))


def changed(place: int, **values: Any) -> list[dict[str, Any]]:
    return [turn | values if number == place else turn for number, turn in enumerate(TURNS)]


@pytest.mark.parametrize(
    "other",
    [
        request(model="n"),
        request(parameters={"temperature": 0.6}),
        request(parameters={}),
        request(parameters={"temperature": 0.5, "seed": 1}),
        request(tools=[]),
        request(tools=[{"name": "u"}]),
        request(changed(0, content="Be long.")),
        request(changed(1, content="Goodbye")),
        request(changed(2, content="Ho!")),
        request(changed(3, content="Who are you?")),
        request(changed(1, role="assistant")),
        request(TURNS[1:]),
    ],
)
def test_everything_that_changes_a_reply_changes_the_key(other: Request) -> None:
    assert other.key(SCOPE) != request().key(SCOPE)
    assert other != request()


@pytest.mark.parametrize("part", ["tenant", "user", "name"])
def test_the_scope_changes_the_key(part: str) -> None:
    assert request().key(replace(SCOPE, **{part: "other"})) != request().key(SCOPE)


def test_parts_of_a_scope_are_separate() -> None:
    assert request().key(Scope("a", "b")) != request().key(Scope("ab")) != request().key(Scope("a", "", "b"))


@pytest.mark.parametrize(
    "same",
    [
        request(changed(3, content="  How are you?\n")),
        request(parameters={"temperature": 0.5, "seed": None, "stream": True, "stream_options": {"a": 1}}),
        request([dict(reversed(turn.items())) for turn in TURNS]),
    ],
)
def test_irrelevant_differences_do_not_change_the_key(same: Request) -> None:
    assert same == request()
    assert hash(same) == hash(request())
    assert same.key(SCOPE) == request().key(SCOPE)


def test_characters_are_composed_and_equal_numbers_are_the_same() -> None:
    assert Request("Cafe\u0301").key() == Request("Caf\u00e9").key()
    assert Request("a", parameters={"temperature": 0}) == Request("a", parameters={"temperature": 0.0})
    assert Request("a", parameters={"x": True}) != Request("a", parameters={"x": 1})
    assert Request("a", parameters={"stop": "\n"}) != Request("a", parameters={"stop": ""})


def test_the_context_is_all_but_the_question() -> None:
    assert request(changed(3, content="What?")).context == request().context
    for other in (
        request(model="n"),
        request(parameters={}),
        request(tools=[]),
        request(changed(0, content="Be long.")),
        request(changed(1, content="Goodbye")),
        request(changed(3, name="bob")),
    ):
        assert other.context != request().context


def test_the_question_is_a_last_user_turn_of_text_only() -> None:
    text = {"type": "text", "text": " Look "}
    image = {"type": "image_url", "image_url": {"url": "x"}}
    assert request().question == "How are you?"
    assert Request([{"role": "user", "content": [text, text]}]).question == "Look\nLook"
    assert Request([{"role": "user", "content": [text, image]}]).question == ""
    assert Request([{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]).question == ""


def test_model_objects_are_messages() -> None:
    class Message:
        def model_dump(self, **_: Any) -> dict[str, Any]:
            return {"role": "user", "content": "Hello"}

    assert Request([Message()]) == Request("Hello")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (([],), "messages"),
        ((["Hello"],), "messages[0]"),
        (([{"content": "Hello"}],), "messages[0]"),
        (("Hello", "", {"temperature": float("nan")}), "parameters['temperature']"),
        (("Hello", "", {"client": object()}), "parameters['client']"),
        (("Hello", "", {"bias": {1: 2}}), "parameters['bias']"),
        (("Hello", "", {}, [object()]), "tools[0]"),
        (("\ud800",), "request"),
    ],
)
def test_invalid_requests_name_the_value(arguments: tuple[Any, ...], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Request(*arguments)
    assert caught.value.field == field


def test_the_repr_hides_texts() -> None:
    assert "secret" not in repr(Request("secret"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), JSON, max_size=4))
def test_the_order_of_parameters_never_matters(parameters: dict[str, Any]) -> None:
    backwards = dict(reversed(parameters.items()))
    assert Request("Hello", parameters=parameters).key() == Request("Hello", parameters=backwards).key()
