"""The messages of a session to send to a model, within a number of tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vectorcache.errors import InvalidInput
from vectorcache_llm.chat.tokens import Tokenizer
from vectorcache_llm.chat.turns import Turn

SUMMARY = "Summary of the conversation so far: "


@dataclass(frozen=True, slots=True)
class Context:
    """Messages to send, in order: the system prompt, the summary, relevant older turns, the recent turns.

    Attributes:
        messages: each with "role" and "content".
        tokens: number of tokens of all messages by the memory's tokenizer; never above the limit.
        summarised: whether the summary is among the messages.
        relevant: number of older turns among the messages.
        recent: number of recent turns among the messages.
    """

    messages: list[dict[str, str]]
    tokens: int
    summarised: bool
    relevant: int
    recent: int


class Builder:
    """Builds a context within the limit, the most important messages first.

    Raises:
        InvalidInput: the system prompt alone exceeds the limit.
    """

    def __init__(self, tokenizer: Tokenizer, limit: int, system: str, system_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._system = system
        self._summary = ""
        self.left = limit - tokenizer.per_request - (self.cost(system_tokens) if system else 0)
        self._limit = limit
        if self.left < 0:
            raise InvalidInput("system", system, f"a prompt that leaves room in {limit} tokens")

    def cost(self, tokens: int) -> int:
        """Return the tokens of a message whose text has this many tokens."""
        return tokens + self._tokenizer.per_message

    def add_summary(self, text: str, tokens: int) -> bool:
        """Add the summary if it fits, and return whether it did."""
        fits = self.cost(tokens) <= self.left
        if fits:
            self._summary = text
            self.left -= self.cost(tokens)
        return fits

    def fitting(self, turns: Iterable[tuple[int, Turn]], room: int) -> dict[int, Turn]:
        """Return the leading turns by number, up to the first one that exceeds ``room`` tokens."""
        found: dict[int, Turn] = {}
        for number, turn in turns:
            room -= self.cost(turn.tokens)
            if room < 0:
                break
            found[number] = turn
        return found

    def size(self, turns: Mapping[int, Turn]) -> int:
        """Return the tokens of the messages of these turns."""
        return sum(self.cost(turn.tokens) for turn in turns.values())

    def build(self, relevant: Mapping[int, Turn], recent: Mapping[int, Turn]) -> Context:
        """Return the context with these turns, in the order of their numbers."""
        begin = [{"role": "system", "content": self._system}] if self._system else []
        if self._summary:
            begin.append({"role": "system", "content": self._summary})
        turns = [turn for some in (relevant, recent) for _, turn in sorted(some.items())]
        return Context(
            begin + [{"role": turn.role, "content": turn.content} for turn in turns],
            self._limit - self.left + self.size(relevant) + self.size(recent),
            bool(self._summary),
            len(relevant),
            len(recent),
        )
