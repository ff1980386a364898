"""What to send of a session, within a number of tokens."""

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
        tokens: of all of them, as the memory's tokenizer counts; never above the limit.
        summarised: whether the summary is among them.
        relevant: how many older turns are.
        recent: how many recent turns are.
    """

    messages: list[dict[str, str]]
    tokens: int
    summarised: bool
    relevant: int
    recent: int


class Builder:
    """Fills a context, piece by piece, the most important first.

    Raises:
        InvalidInput: the system prompt alone is beyond the limit.
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
        """What a message of so many tokens takes."""
        return tokens + self._tokenizer.per_message

    def add_summary(self, text: str, tokens: int) -> bool:
        """Take the summary, if there is room; say whether there was."""
        fits = self.cost(tokens) <= self.left
        if fits:
            self._summary = text
            self.left -= self.cost(tokens)
        return fits

    def fitting(self, turns: Iterable[tuple[int, Turn]], room: int) -> dict[int, Turn]:
        """The first of the turns, by number, up to the first one that no longer fits into ``room`` tokens."""
        found: dict[int, Turn] = {}
        for number, turn in turns:
            room -= self.cost(turn.tokens)
            if room < 0:
                break
            found[number] = turn
        return found

    def size(self, turns: Mapping[int, Turn]) -> int:
        """What turns take."""
        return sum(self.cost(turn.tokens) for turn in turns.values())

    def build(self, relevant: Mapping[int, Turn], recent: Mapping[int, Turn]) -> Context:
        """The context of these turns, in the order of their numbers."""
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
