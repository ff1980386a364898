"""Replies and chunks made of the results of models, and their storage format."""

from __future__ import annotations

from typing import Any

import pytest

from vectorcache.errors import CorruptData, InvalidInput
from vectorcache_llm.response import Chunk, Reply
from vectorcache_llm.response.reply import Stored

COMPLETION = {
    "model": "m-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}


def event(text: str | None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {"model": "m-1", "choices": [{"delta": {"content": text}, "finish_reason": reason}], **more}


def test_a_chat_completion_is_read_and_returned() -> None:
    reply = Reply.of(COMPLETION)
    assert (reply.text, reply.model, reply.finish_reason) == ("Hi", "m-1", "stop")
    assert (reply.prompt_tokens, reply.completion_tokens) == (3, 1)
    assert reply.completion() == COMPLETION


def test_a_completion_is_made_of_a_text() -> None:
    made = Reply.of(Reply.of("Hi").completion())
    assert (made.text, made.finish_reason) == ("Hi", "stop")


def test_model_objects_are_replies() -> None:
    class Completion:
        def model_dump(self, **_: Any) -> dict[str, Any]:
            return COMPLETION

    assert Reply.of(Completion()) == Reply.of(COMPLETION)


@pytest.mark.parametrize("value", [None, 3, b"bytes", ["list"]])
def test_invalid_replies_are_rejected(value: Any) -> None:
    with pytest.raises(InvalidInput):
        Reply.of(value)
    with pytest.raises(InvalidInput):
        Chunk.of(value)


@pytest.mark.parametrize(
    ("reply", "complete"),
    [
        (Reply("Hi"), True),
        (Reply("Hi", finish_reason="end_turn"), True),
        (Reply(""), False),
        (Reply(" \n"), False),
        (Reply("Hi", finish_reason="length"), False),
        (Reply("Hi", finish_reason="content_filter"), False),
        (Reply("Hi", finish_reason="tool_calls"), False),
        (Reply("Hi", finish_reason=None), False),
    ],
)
def test_only_complete_replies_may_be_stored(reply: Reply, complete: bool) -> None:
    assert reply.complete is complete


def test_events_are_joined_with_their_reason_and_tokens() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    events = [event("He"), event("llo"), event(None, "stop"), usage]
    reply = Reply.joined(map(Chunk.of, events))
    assert (reply.text, reply.model, reply.finish_reason) == ("Hello", "m-1", "stop")
    assert (reply.prompt_tokens, reply.completion_tokens) == (5, 2)
    assert [chunk.event() for chunk in reply.pieces()] == events


def test_events_without_a_finish_reason_are_incomplete() -> None:
    assert not Reply.joined([Chunk.of(event("He"))]).complete
    assert Reply.joined([Chunk("He"), Chunk("llo")]).complete


def test_a_reply_without_chunks_is_replayed_as_one() -> None:
    assert Reply("Hi").pieces() == (Chunk("Hi", "stop"),)
    assert Chunk.of(Chunk("Hi", "stop").event()).text == "Hi"


def test_stored_replies_round_trip() -> None:
    stored = Stored(Reply("Hi", raw=COMPLETION, chunks=(Chunk("H"), Chunk("i", "stop", event("i")))), 12.5)
    assert Stored.decode(stored.encode()) == stored


@pytest.mark.parametrize("payload", [b"", b"{}", Stored(Reply("Hi")).encode()[:-2], b"\x93\xa2r0\xc0\xc0"])
def test_foreign_and_truncated_payloads_are_reported(payload: bytes) -> None:
    with pytest.raises(CorruptData):
        Stored.decode(payload)


def test_only_json_values_can_be_stored() -> None:
    with pytest.raises(InvalidInput):
        Stored(Reply("Hi", raw=object())).encode()
