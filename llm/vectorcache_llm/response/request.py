"""A request to a language model, in a normal form."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from vectorcache.errors import InvalidInput
from vectorcache_llm.scope import EVERYBODY, Scope

_VERSION = b"1"
"""Version of the normal form. It is part of every key, so that replies stored under another version are not found."""
_TRANSPORT = frozenset({"stream", "stream_options"})
"""Parameters that affect how a reply is transferred, but not its content."""
_encode = msgspec.json.Encoder(order="sorted").encode


class Request:
    """The messages, model, parameters and tools of one call, normalised and immutable.

    Texts are in Unicode normal form C, and messages are stripped of surrounding white space. Equal numbers are the
    same (0 and 0.0). Parameters that are None, ``stream`` and ``stream_options`` are ignored. Requests with the same
    normal form are equal.

    Args:
        messages: a prompt, or the messages of a chat API: ``{"role": "user", "content": "..."}``, or objects with a
            ``model_dump``.
        model: name of the model.
        parameters: temperature, seed, response format and everything else that affects a reply; JSON values.
        tools: descriptions of the tools that the model may call; JSON values.

    Raises:
        InvalidInput: there is no message, a message has no role, or a value is not a JSON value; names the value.
    """

    __slots__ = ("_body", "_context", "messages", "model", "parameters", "question", "tools")

    def __init__(
        self,
        messages: str | Sequence[Any],
        model: str = "",
        parameters: Mapping[str, Any] | None = None,
        tools: Sequence[Any] = (),
    ) -> None:
        self.model = model
        self.messages = _turns(messages)
        self.parameters = {
            name: _normal(value, "parameters", name)
            for name, value in (parameters or {}).items()
            if value is not None and name not in _TRANSPORT
        }
        self.tools = [_normal(tool, "tools", number) for number, tool in enumerate(tools)]
        self.question = _question(self.messages[-1])
        """The text whose similarity is compared: the last message if it is a user's and text only, else empty."""
        self._body = _encoded([self.model, self.parameters, self.tools, self.messages])
        self._context = ""

    def key(self, scope: Scope = EVERYBODY) -> str:
        """Return the hexadecimal SHA-256 of the scope and everything that the reply depends on."""
        whose = _encode([scope.tenant, scope.user, scope.name])
        return sha256(b"".join((_VERSION, whose, self._body))).hexdigest()

    @property
    def context(self) -> str:
        """Hexadecimal SHA-256 of all but the question. Similar questions share replies only within one context."""
        if not self._context:
            last = {name: value for name, value in self.messages[-1].items() if name != "content"}
            rest = [self.model, self.parameters, self.tools, self.messages[:-1], last]
            self._context = sha256(_VERSION + _encode(rest)).hexdigest()
        return self._context

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and self._body == other._body

    def __hash__(self) -> int:
        return hash(self._body)

    def __repr__(self) -> str:
        return f"Request({len(self.messages)} messages, model={self.model!r})"  # texts are private


def _turns(messages: str | Sequence[Any]) -> list[dict[str, Any]]:
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not messages:
        raise InvalidInput("messages", messages, "at least one")
    return [_turn(message, number) for number, message in enumerate(messages)]


def _turn(message: Any, number: int) -> dict[str, Any]:
    turn = _normal(message, "messages", number)
    if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
        raise InvalidInput(f"messages[{number}]", message, "a mapping with role and content")
    content = turn.get("content")
    if isinstance(content, str):
        turn["content"] = content.strip()
    elif isinstance(content, list):
        for part in content:
            if _is_text(part):
                part["text"] = part["text"].strip()
    return turn


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _question(turn: Mapping[str, Any]) -> str:
    content = turn.get("content")
    if turn["role"] != "user":
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(_is_text(part) and len(part) == 2 for part in content):
        return "\n".join(part["text"] for part in content)
    return ""


def _normal(value: Any, field: str, place: object) -> Any:
    """Return the value with texts in normal form C and whole floats as integers. Containers are copied."""
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        return {_name(key, field, place): _normal(item, field, place) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_normal(item, field, place) for item in value]
    if hasattr(value, "model_dump"):
        return _normal(value.model_dump(exclude_none=True), field, place)
    raise InvalidInput(f"{field}[{place!r}]", value, "JSON values with finite numbers")


def _name(key: Any, field: str, place: object) -> str:
    if not isinstance(key, str):
        raise InvalidInput(f"{field}[{place!r}]", key, "names of type string")
    return _text(key)


def _text(value: str) -> str:
    return value if value.isascii() else unicodedata.normalize("NFC", value)


def _encoded(value: Any) -> bytes:
    try:
        return _encode(value)
    except UnicodeEncodeError as error:
        raise InvalidInput("request", value, "texts without lone surrogates") from error
