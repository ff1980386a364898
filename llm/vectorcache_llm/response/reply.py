"""A language model's reply, and the format in which it is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from vectorcache.errors import CorruptData, InvalidInput

COMPLETE = frozenset({"stop", "end_turn", "stop_sequence"})
"""Finish reasons of a complete reply."""


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a streamed reply.

    Attributes:
        text: the text that it adds.
        finish_reason: why the model stopped; only the last chunk has one.
        raw: the event as the model's API returned it, as JSON values.
    """

    text: str = ""
    finish_reason: str | None = None
    raw: Any = None

    @classmethod
    def of(cls, value: Any) -> Chunk:
        """Return a chunk unchanged, or made of a text or a chat completion's event (a mapping or a model object)."""
        if isinstance(value, Chunk):
            return value
        if isinstance(value, str):
            return cls(value)
        raw = _mapping(value, "chunk")
        choice = _first_choice(raw)
        return cls((choice.get("delta") or {}).get("content") or "", choice.get("finish_reason"), raw)

    def event(self) -> dict[str, Any]:
        """Return the event as the model's API returned it, or one made of the chunk's fields."""
        if isinstance(self.raw, dict):
            return self.raw
        choice = {"index": 0, "delta": {"content": self.text}, "finish_reason": self.finish_reason}
        return {"object": "chat.completion.chunk", "choices": [choice]}


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """A whole reply.

    Attributes:
        text: the answer.
        model: name of the model that answered.
        finish_reason: why the model stopped, such as "stop"; None if unknown.
        prompt_tokens, completion_tokens: number of tokens; 0 if unknown.
        raw: the reply as the model's API returned it, as JSON values.
        chunks: the chunks of a streamed reply.
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
        """Return a reply unchanged, or made of a text or a chat completion (a mapping or a model object).

        Raises:
            InvalidInput: the value is none of these.
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
        """Return the reply made of the chunks of a stream.

        A stream of plain texts counts as complete; any other needs a finish reason.
        """
        pieces = tuple(chunks)
        plain = all(piece.raw is None and piece.finish_reason is None for piece in pieces)
        reasons = [piece.finish_reason for piece in pieces if piece.finish_reason is not None]
        raws = [piece.raw for piece in pieces if isinstance(piece.raw, Mapping)]
        prompt, completion = max((_tokens(raw) for raw in raws), default=(0, 0))
        return cls(
            "".join(piece.text for piece in pieces),
            next((raw["model"] for raw in raws if raw.get("model")), ""),
            "stop" if plain else (reasons[-1] if reasons else None),
            prompt,
            completion,
            chunks=pieces,
        )

    @property
    def complete(self) -> bool:
        """Whether the reply may be stored: it has a text, and the model finished it."""
        return bool(self.text.strip()) and self.finish_reason in COMPLETE

    def pieces(self) -> tuple[Chunk, ...]:
        """Return the chunks to replay: the recorded ones, or one with the whole text."""
        return self.chunks or (Chunk(self.text, self.finish_reason),)

    def completion(self) -> dict[str, Any]:
        """Return the chat completion as the model's API returned it, or one made of the reply's fields."""
        if isinstance(self.raw, dict):
            return self.raw
        message = {"role": "assistant", "content": self.text}
        usage = {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return {"object": "chat.completion", "model": self.model, "choices": [choice], "usage": usage}


class Stored(msgspec.Struct, frozen=True, array_like=True, tag="r1"):
    """The payload of an index entry. The tag is the version of the format.

    Attributes:
        reply: the reply.
        fresh_until: seconds since the epoch at which it becomes stale, before it expires; None for never.
    """

    reply: Reply
    fresh_until: float | None = None

    def encode(self) -> bytes:
        """Encode as MessagePack.

        Raises:
            InvalidInput: ``raw`` has a value that is not a JSON value, or a text is not valid Unicode.
        """
        try:
            return _encoder.encode(self)
        except (TypeError, UnicodeEncodeError, OverflowError) as error:
            raise InvalidInput("reply", self.reply, "texts, numbers and JSON values") from error

    @classmethod
    def decode(cls, payload: bytes) -> Stored:
        """Decode from MessagePack.

        Raises:
            CorruptData: the payload is truncated, of another kind or of another version.
        """
        try:
            return _decoder.decode(payload)
        except msgspec.MsgspecError as error:
            raise CorruptData(f"a payload of {len(payload)} bytes is not a stored reply: {error}") from error


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Stored)


def _mapping(value: Any, field: str) -> dict[str, Any]:
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if not isinstance(value, Mapping):
        raise InvalidInput(field, value, "a text, a Reply or Chunk, or a chat completion")
    return dict(value)


def _first_choice(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = raw.get("choices") or [{}]  # an event that only reports usage has none
    return choices[0]  # type: ignore[no-any-return]


def _tokens(raw: Mapping[str, Any]) -> tuple[int, int]:
    usage = raw.get("usage") or {}
    return usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
