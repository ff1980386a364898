"""Prompts with their replies from a file of JSON lines, or of CSV with a header line."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
from msgspec import Meta

from vectorcache.errors import InvalidInput
from vectorcache_llm.manager.transfer import BATCH
from vectorcache_llm.response.reply import Reply
from vectorcache_llm.response.request import Request
from vectorcache_llm.scope import EVERYBODY, Scope


class Prompt(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One line. In CSV, ``tags`` are separated by commas; ``messages`` and ``parameters`` are not supported.

    Attributes:
        prompt: the user's prompt; or else ``messages``, in the format of chat APIs.
        reply: the model's answer.
        system: the system prompt, sent before ``prompt`` or ``messages``.
        model, parameters: of the request.
        tenant, user, scope: the scope of the reply.
        ttl: lifetime in seconds.
        tags: tags for invalidation.
        prompt_tokens, completion_tokens: number of tokens of the call.
    """

    reply: str
    prompt: str = ""
    messages: list[dict[str, Any]] = []
    system: str = ""
    model: str = ""
    parameters: dict[str, Any] = {}
    tenant: str = EVERYBODY.tenant
    user: str = EVERYBODY.user
    scope: str = EVERYBODY.name
    ttl: Annotated[float, Meta(gt=0)] | None = None
    tags: list[str] = []
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __post_init__(self) -> None:
        if bool(self.prompt) == bool(self.messages):
            raise InvalidInput("prompt, messages", self.prompt, "exactly one of the two")
        self.request.key(self.whose)  # so that errors in them name the line too

    @property
    def request(self) -> Request:
        """The request of ``prompt`` or ``messages``."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        turns = self.messages or [{"role": "user", "content": self.prompt}]
        return Request([*system, *turns], self.model, self.parameters)

    @property
    def answer(self) -> Reply:
        """The reply."""
        return Reply(
            self.reply,
            self.model,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
        )

    @property
    def whose(self) -> Scope:
        """The scope."""
        return Scope(self.tenant, self.user, self.scope)


async def read(path: Path) -> AsyncIterator[list[Prompt]]:
    """Yield batches of prompts of a file: CSV if its name ends in .csv, else JSON lines.

    Raises:
        InvalidInput: the file cannot be read, or a line is invalid; names the line.
    """
    try:
        file = await asyncio.to_thread(path.open, encoding="utf-8-sig", newline="")
    except OSError as error:
        raise InvalidInput("path", str(path), f"a file that can be read ({error.strerror})") from error
    with file:
        prompts = _csv(path, file) if path.suffix == ".csv" else _json(path, file)
        while batch := await asyncio.to_thread(lambda: list(islice(prompts, BATCH))):
            yield batch


def _json(path: Path, file: IO[str]) -> Iterator[Prompt]:
    for number, line in enumerate(_text(path, file), 1):
        if line.strip():
            yield _prompt(path, number, line)


def _csv(path: Path, file: IO[str]) -> Iterator[Prompt]:
    rows = csv.DictReader(_text(path, file))
    for row in _whole(path, rows):
        fields: dict[str, Any] = {name: value for name, value in row.items() if value}
        fields["tags"] = [tag.strip() for tag in (row.get("tags") or "").split(",") if tag.strip()]
        yield _prompt(path, rows.line_num, fields)


def _whole(path: Path, rows: csv.DictReader[str]) -> Iterator[dict[str, Any]]:
    try:
        yield from rows
    except csv.Error as error:
        allowed = f"valid CSV ({error}); JSON lines have no such limits"
        raise InvalidInput("path", f"{path}, line {rows.line_num}", allowed) from error


def _text(path: Path, file: IO[str]) -> Iterator[str]:
    try:
        yield from file
    except UnicodeDecodeError as error:
        raise InvalidInput("path", str(path), f"a text in UTF-8 ({error.reason})") from error


def _prompt(path: Path, number: int, given: str | dict[str, Any]) -> Prompt:
    try:
        if isinstance(given, str):
            return msgspec.json.decode(given, type=Prompt)
        return msgspec.convert(given, Prompt, strict=False)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise InvalidInput(f"{path}, line {number}", given, f"a prompt with its reply ({error})") from error
