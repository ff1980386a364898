"""What a question asks for: why, when, where, who, how many."""

from __future__ import annotations

from collections.abc import Sequence

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
"""Words by which a question asks as by a question word: "in which year" is "when"."""
_MAKING = frozenset(["makes", "make", "made", "causes", "cause", "caused"])
"""After "what": asks why."""
_JOINING = frozenset(["when", "where"])
"""These join clauses as well. They ask before an auxiliary verb, and after what tells that somebody wants to know."""
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
"""What one does to programs only, and where they offer it: asking where is asking how."""


def asked(tokens: Sequence[Token]) -> tuple[str, frozenset[str]]:
    """The kind of the first question word, or empty; and words before it that join clauses, and might have asked."""
    joining = set()
    for place, token in enumerate(tokens):
        kind = _ASKING.get(token.lower)
        if kind is None:
            continue
        before = _before(tokens, place)
        first, second, third = ([token.lower for token in tokens[place + 1 : place + 4]] + ["", "", ""])[:3]
        if (kind, first, second) == ("why", "dont", "you"):
            break  # a request
        asks = first.partition("_")[0] in _AUXILIARY or before in _WANTED  # "do I find" may be one, a phrase
        if kind in _JOINING and not asks:
            joining.add(kind)  # "warn me when costs rise"
            continue
        return _kind(kind, first, second, third), frozenset(joining)
    return "", frozenset(joining)


def _before(tokens: Sequence[Token], place: int) -> str:
    """The word before, or before "me" or "us"."""
    place -= 1
    if place > 0 and tokens[place].lower in ("me", "us"):
        place -= 1
    return tokens[place].lower if place >= 0 else ""


def _kind(kind: str, first: str, second: str, third: str) -> str:
    """What a question word and the three words after it ask for."""
    if kind == "how" and first == "come":
        return "why"
    if kind == "how" and first in ("many", "much"):
        return "how long" if second == "time" or lexicon().word(second).of_time else f"how {first}"
    if kind == "how" and first == "long":
        return "how long"
    if kind == "what" and first in _MAKING:
        return "why"
    if kind == "where" and second in ("i", "we") and third in _OPERATING:
        return "how"
    return kind
