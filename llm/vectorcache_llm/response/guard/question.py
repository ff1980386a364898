"""The type of a question: why, when, where, who, how many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vectorcache_llm.response.guard.lexicon import lexicon
from vectorcache_llm.response.guard.tokens import Token

_ASKING = {
    "why": "why", "when": "when", "where": "where", "who": "who", "whom": "who", "whose": "who",
    "how": "how", "what": "what", "which": "what",
}  # fmt: skip
HINTS = {
    hint: kind
    for kind, hints in {
        "why": ("reason", "cause", "causes", "purpose"),
        "when": ("date", "year", "time", "day", "month", "century", "situation", "situations"),
        "where": ("place", "location"),
        "who": ("person", "author", "artist", "inventor", "writer", "founder"),
        "how long": ("duration", "period", "length"),
        "how many": ("number", "count", "population"),
        "how much": ("amount", "cost", "price"),
    }.items()
    for hint in hints
}
"""Words that take the place of a question word: "in which year" asks for the same as "when"."""
_MAKING = frozenset(["makes", "make", "made", "causes", "cause", "caused"])
"""Verbs that make "what" ask for a cause: "what makes" asks for the same as "why"."""
_JOINING = frozenset(["when", "where"])
"""Question words that are conjunctions too. They ask before an auxiliary verb and after a word of ``_WANTED``."""
_AUXILIARY = frozenset([
    "to", "is", "are", "was", "were", "am", "be", "do", "does", "did", "has", "have", "had", "can", "could", "will",
    "would", "shall", "should", "may", "might", "must",
])  # fmt: skip
_WANTED = frozenset([
    "know", "explain", "say", "tell", "ask", "wonder", "wondering", "or", "and", "exactly", "out",
    "remember", "determine", "decide", "about", "of", "on", "from", "since", "until", "till", "by",
])  # fmt: skip
_OPERATING = frozenset(
    ["download", "enable", "disable", "configure", "activate", "deactivate", "unsubscribe"]
)
"""Verbs for operating a program. With them, "where do I" asks for the same as "how do I"."""


class Question(NamedTuple):
    """The type of a text's question.

    Attributes:
        kind: the type that the first question word asks for, or empty if there is none.
        written: the question word or phrase as written in the text.
        conjunctions: question words before it that join clauses, by their lower case, as written in the text.
    """

    kind: str
    written: str
    conjunctions: Mapping[str, str]


def question_of(tokens: Sequence[Token]) -> Question:
    """Return the type of the first question in a text."""
    conjunctions: dict[str, str] = {}
    for place, token in enumerate(tokens):
        kind = _ASKING.get(token.lower)
        if kind is None:
            continue
        before = _before(tokens, place)
        first, second, third = ([token.lower for token in tokens[place + 1 : place + 4]] + ["", "", ""])[:3]
        if (kind, first, second) == ("why", "dont", "you"):
            break  # "why don't you" is a request
        asks = (
            first.partition("_")[0] in _AUXILIARY or before in _WANTED
        )  # the phrase "do I find" is one token
        if kind in _JOINING and not asks:
            conjunctions[kind] = token.source  # "warn me when costs rise"
            continue
        kind, taken = _kind(kind, first, second, third)
        written = " ".join(token.source for token in tokens[place : place + taken])
        return Question(kind, written, conjunctions)
    return Question("", "", conjunctions)


def _before(tokens: Sequence[Token], place: int) -> str:
    """Return the previous word, or the one before "me" or "us"."""
    place -= 1
    if place > 0 and tokens[place].lower in ("me", "us"):
        place -= 1
    return tokens[place].lower if place >= 0 else ""


def _kind(kind: str, first: str, second: str, third: str) -> tuple[str, int]:
    """Return the type that a question word and the three words after it ask for, and how many words express it."""
    if kind == "how" and first == "come":
        return "why", 2
    if kind == "how" and first in ("many", "much"):
        if second == "time" or lexicon().word(second).of_time:
            return "how long", 3
        return f"how {first}", 2
    if kind == "how" and first == "long":
        return "how long", 2
    if kind == "what" and first in _MAKING:
        return "why", 2
    if kind == "where" and second in ("i", "we") and third in _OPERATING:
        return "how", 1
    return kind, 1
