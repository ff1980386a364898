"""The values that are stored for a session."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from vectorcache.errors import CorruptData, InvalidInput
from vectorcache_llm.scope import MAX_CHARACTERS

ROLES = ("user", "assistant", "tool")


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="turn"):
    """One message of a conversation.

    Attributes:
        role: "user", "assistant" or "tool". The system prompt is not a turn, but part of each request.
        content: the text.
        tokens: number of tokens of the content. The memory sets this and ``tokenizer``.
        tokenizer: name of the tokenizer that counted them.

    Raises:
        InvalidInput: the role is unknown, or the content has lone surrogates.
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
    """The number of a session's next turn, or a smaller one, and a token that is unique to the session."""

    next: int
    born: str


class Summary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="summary"):
    """A summary of the turns before number ``upto`` of the session whose head has the token ``born``."""

    text: str
    upto: int
    born: str


Kept: TypeAlias = Turn | Head | Summary

_decoder = msgspec.json.Decoder(Turn | Head | Summary)


def encode(value: Kept) -> bytes:
    """Encode a value."""
    return msgspec.json.encode(value)


def decode(key: str, value: bytes) -> Kept:
    """Decode a value.

    Raises:
        CorruptData: the bytes are not an encoded value.
    """
    try:
        found: Kept = _decoder.decode(value)
    except msgspec.DecodeError as error:
        raise CorruptData(f"chat {key}: {error}") from error
    return found


# A key is the session's name, a slash, and a turn's number, "head" or "summary".


def turn_key(session: str, number: int) -> str:
    """Return the key of a turn."""
    return f"{session}/{number:09d}"


def head_key(session: str) -> str:
    """Return the key of a session's head."""
    return f"{session}/head"


def summary_key(session: str) -> str:
    """Return the key of a session's summary."""
    return f"{session}/summary"


def session_of(key: str) -> str:
    """Return the session of a key."""
    return key.rpartition("/")[0]


def number_of(key: str) -> int:
    """Return the number in a turn's key."""
    return int(key.rpartition("/")[2])


def check_session(session: str) -> None:
    """Validate a session's name.

    Raises:
        InvalidInput: the name is invalid.
    """
    if not session or len(session) > MAX_CHARACTERS or not session.isprintable():
        raise InvalidInput(
            "session", session, f"1 to {MAX_CHARACTERS} characters, none of them a control character"
        )
