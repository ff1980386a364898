"""What is kept of a session."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from vectorcache.errors import CorruptData, InvalidInput
from vectorcache_llm.scope import MAX_CHARACTERS

ROLES = ("user", "assistant", "tool")


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="turn"):
    """What somebody said.

    Attributes:
        role: "user", "assistant" or "tool"; the system prompt is no turn, it goes with each request.
        content: the text.
        tokens: of the content, as ``tokenizer`` counts; the memory sees to both.
        tokenizer: its name.

    Raises:
        InvalidInput: a role that is not allowed, or a content that is no UTF-8.
    """

    role: str
    content: str
    tokens: int = 0
    tokenizer: str = ""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise InvalidInput("role", self.role, f"one of {', '.join(ROLES)}")
        try:
            self.content.encode()
        except (AttributeError, UnicodeEncodeError) as error:
            raise InvalidInput("content", self.content, "a text without lone surrogates") from error


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="head"):
    """Where a session ends, or a little before, and which session it is: one of the same name may come after it."""

    next: int
    born: str


class Summary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="summary"):
    """A summary of the turns before number ``upto`` of the session that was ``born`` so."""

    text: str
    upto: int
    born: str


Kept: TypeAlias = Turn | Head | Summary

_decoder = msgspec.json.Decoder(Turn | Head | Summary)


def encode(value: Kept) -> bytes:
    """A value's bytes."""
    return msgspec.json.encode(value)


def decode(key: str, value: bytes) -> Kept:
    """The value of bytes.

    Raises:
        CorruptData: they are none.
    """
    try:
        found: Kept = _decoder.decode(value)
    except msgspec.DecodeError as error:
        raise CorruptData(f"chat {key}: {error}") from error
    return found


# Keys: a session's name and what it is of it, after the last stroke.


def turn_key(session: str, number: int) -> str:
    """The key of a turn."""
    return f"{session}/{number:09d}"


def head_key(session: str) -> str:
    """The key of a session's head."""
    return f"{session}/head"


def summary_key(session: str) -> str:
    """The key of a session's summary."""
    return f"{session}/summary"


def session_of(key: str) -> str:
    """The session that a key belongs to."""
    return key.rpartition("/")[0]


def number_of(key: str) -> int:
    """The number of a turn's key."""
    return int(key.rpartition("/")[2])


def check_session(session: str) -> None:
    """See that a session's name is allowed.

    Raises:
        InvalidInput: it is not.
    """
    if not session or len(session) > MAX_CHARACTERS or not session.isprintable():
        raise InvalidInput(
            "session", session, f"1 to {MAX_CHARACTERS} characters, none of them a control character"
        )
