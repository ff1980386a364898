"""What a language model answered, and the form in which it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from vectorcache.errors import CorruptData, InvalidInput

COMPLETE = frozenset({"stop", "end_turn", "stop_sequence"})
"""Reasons to finish that mean: the whole reply is here."""


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a streamed reply.

    Attributes:
        text: what it adds.
        finish_reason: on the last one, why the model ended.
        raw: the event as the model's API gave it, JSON values.
    """

    text: str = ""
    finish_reason: str | None = None
    raw: Any = None

    @classmethod
    def of(cls, value: Any) -> Chunk:
        """A chunk as it is, of a text, or of a chat completion's event (a mapping, or an object that dumps one)."""
        if isinstance(value, Chunk):
            return value
        if isinstance(value, str):
            return cls(value)
        raw = _mapping(value, "chunk")
        choice = _first_choice(raw)
        return cls((choice.get("delta") or {}).get("content") or "", choice.get("finish_reason"), raw)

    def event(self) -> dict[str, Any]:
        """The event as the model's API gave it, or one made of what is known."""
        if isinstance(self.raw, dict):
            return self.raw
        choice = {"index": 0, "delta": {"content": self.text}, "finish_reason": self.finish_reason}
        return {"object": "chat.completion.chunk", "choices": [choice]}


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """A whole reply.

    Attributes:
        text: the answer.
        model: which one answered.
        finish_reason: why it ended, such as "stop"; None where it did not say.
        prompt_tokens, completion_tokens: what it cost; 0 where unknown.
        raw: the reply as the model's API gave it, JSON values.
        chunks: the pieces, where it was streamed.
    """

    text: str
    model: str = ""
    finish_reason: str | None = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    raw: Any = None
    chunks: tuple[Chunk, ...] = ()

    @classmethod
    def of(cls, value: Any) -> Reply:
        """A reply as it is, of a text, or of a chat completion (a mapping, or an object that dumps one).

        Raises:
            InvalidInput: it is none of these.
        """
        if isinstance(value, Reply):
            return value
        if isinstance(value, str):
            return cls(value)
        raw = _mapping(value, "reply")
        choice = _first_choice(raw)
        text = (choice.get("message") or {}).get("content") or ""
        prompt, completion = _tokens(raw)
        return cls(text, raw.get("model") or "", choice.get("finish_reason"), prompt, completion, raw)

    @classmethod
    def joined(cls, chunks: Iterable[Chunk]) -> Reply:
        """The reply that was streamed by these. A stream of bare texts ends when it ends; any other must say so."""
        pieces = tuple(chunks)
        bare = all(piece.raw is None and piece.finish_reason is None for piece in pieces)
        reasons = [piece.finish_reason for piece in pieces if piece.finish_reason is not None]
        raws = [piece.raw for piece in pieces if isinstance(piece.raw, Mapping)]
        prompt, completion = max((_tokens(raw) for raw in raws), default=(0, 0))
        return cls(
            "".join(piece.text for piece in pieces),
            next((raw["model"] for raw in raws if raw.get("model")), ""),
            "stop" if bare else (reasons[-1] if reasons else None),
            prompt,
            completion,
            chunks=pieces,
        )

    @property
    def complete(self) -> bool:
        """Whether it may be stored: it has a text, and the model ended by itself."""
        return bool(self.text.strip()) and self.finish_reason in COMPLETE

    def pieces(self) -> tuple[Chunk, ...]:
        """The chunks to replay: as they were recorded, or the whole text as one."""
        return self.chunks or (Chunk(self.text, self.finish_reason),)

    def completion(self) -> dict[str, Any]:
        """The chat completion as the model's API gave it, or one made of what is known."""
        if isinstance(self.raw, dict):
            return self.raw
        message = {"role": "assistant", "content": self.text}
        usage = {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return {"object": "chat.completion", "model": self.model, "choices": [choice], "usage": usage}


class Stored(msgspec.Struct, frozen=True, array_like=True, tag="r1"):
    """What an index keeps as payload. The tag is the format's version.

    Attributes:
        reply: the reply.
        fresh_until: seconds since the epoch from which on it is stale, before it ends; None for never.
    """

    reply: Reply
    fresh_until: float | None = None

    def encode(self) -> bytes:
        """MessagePack.

        Raises:
            InvalidInput: ``raw`` has what is no JSON value, or a text is no Unicode.
        """
        try:
            return _encoder.encode(self)
        except (TypeError, UnicodeEncodeError, OverflowError) as error:
            raise InvalidInput("reply", self.reply, "texts, numbers and JSON values") from error

    @classmethod
    def decode(cls, payload: bytes) -> Stored:
        """From MessagePack.

        Raises:
            CorruptData: torn, foreign, or of another version.
        """
        try:
            return _decoder.decode(payload)
        except msgspec.MsgspecError as error:
            raise CorruptData(f"a payload of {len(payload)} bytes is no stored reply: {error}") from error


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Stored)


def _mapping(value: Any, field: str) -> dict[str, Any]:
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if not isinstance(value, Mapping):
        raise InvalidInput(field, value, "a text, a Reply or Chunk, or a chat completion")
    return dict(value)


def _first_choice(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = raw.get("choices") or [{}]  # an event that only tells usage has none
    return choices[0]  # type: ignore[no-any-return]


def _tokens(raw: Mapping[str, Any]) -> tuple[int, int]:
    usage = raw.get("usage") or {}
    return usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
