"""What two questions must have in common to share a reply: a small class each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from typing import ClassVar

from vectorcache_llm.response.guard.features import Features
from vectorcache_llm.response.guard.pair import Pair


class Check(ABC):
    """One reason to refuse. Stateless; ``name`` is for metrics."""

    name: ClassVar[str]

    @abstractmethod
    def differs(self, pair: Pair) -> str:
        """Why the two may not share a reply; empty where this check knows no reason. Symmetric."""


class Language(Check):
    """Another script or language asks for another answer; so does an unknown one, but for the same words."""

    name = "language"

    def differs(self, pair: Pair) -> str:
        """Scripts, then languages that both texts tell."""
        a, b = pair.a, pair.b
        if a.script != b.script:
            return f"scripts: {a.script.lower()} and {b.script.lower()}"
        if a.language and b.language and a.language != b.language:
            return f"languages: {a.language} and {b.language}"
        return ""


class Numbers(Check):
    """Values with their units; their order too, where the units are the same."""

    name = "numbers"

    def differs(self, pair: Pair) -> str:
        """As bags first: "2 of 10" is not "10 of 2" either."""
        a, b = pair.a, pair.b
        if a.numbers == b.numbers:
            return ""
        only_a, only_b = Counter(a.numbers) - Counter(b.numbers), Counter(b.numbers) - Counter(a.numbers)
        if only_a or only_b:
            return f"numbers: {_list(map(_amount, only_a))} and {_list(map(_amount, only_b))}"
        units = Counter(unit for _, unit in a.numbers)
        return "numbers in another order" if max(units.values()) > 1 else ""


class Units(Check):
    """Units that are named without a number too: "in miles". Those of time where both texts name one."""

    name = "units"

    def differs(self, pair: Pair) -> str:
        """Units of measure must be the same."""
        a, b = pair.a, pair.b
        if a.units != b.units:
            return f"units: {_list(a.units - b.units)} and {_list(b.units - a.units)}"
        if a.times and b.times and a.times != b.times:
            return f"units of time: {_list(a.times)} and {_list(b.times)}"
        return ""


class Negation(Check):
    """The parity of negations: two of them cancel out."""

    name = "negation"

    def differs(self, pair: Pair) -> str:
        """Odd and even."""
        a, b = pair.a, pair.b
        return "only one of the two negates" if (a.negations - b.negations) % 2 else ""


class Opposites(Check):
    """Ends of one axis: increase and decrease, before and after, first and last, Monday and Friday."""

    name = "opposites"

    def differs(self, pair: Pair) -> str:
        """Where both texts name ends of an axis, they name the same ends."""
        a, b = pair.a, pair.b
        for axis, ends in a.antonyms.items():
            others = b.antonyms.get(axis)
            if others is not None and ends != others:
                return "opposites"
        return "every one and a single one" if a.every & b.single or b.every & a.single else ""


class QuestionType(Check):
    """Why, when, where, who, how many: what is wanted to know."""

    name = "question"

    def differs(self, pair: Pair) -> str:
        """A specific question word must be in the other text, as such or by a word that asks the same."""
        a, b = pair.a, pair.b
        for one, other in ((a, b), (b, a)):
            if one.asks in _SPECIFIC and one.asks != other.asks and one.asks not in other.hints:
                return f"questions: {one.asks} and {other.asks or 'none'}"
        if a.joining and b.joining and a.joining != b.joining:
            return f"clauses: {_list(a.joining)} and {_list(b.joining)}"
        return ""


_SPECIFIC = frozenset(("why", "when", "where", "who", "how long", "how many", "how much"))


class Task(Check):
    """Explain, write, translate, list: what the model is to do."""

    name = "task"

    def differs(self, pair: Pair) -> str:
        """Where both texts name tasks, they have one in common."""
        a, b = pair.a, pair.b
        if a.tasks and b.tasks and a.tasks.isdisjoint(b.tasks):
            return f"tasks: {_list(a.tasks)} and {_list(b.tasks)}"
        return ""


class Quoted(Check):
    """What stands in quotation marks is meant to the letter."""

    name = "quoted"

    def differs(self, pair: Pair) -> str:
        """Where both texts quote, they quote the same."""
        a, b = pair.a, pair.b
        return "quotations" if a.quoted and b.quoted and a.quoted != b.quoted else ""


class SwappedArguments(Check):
    """Two words in each other's place: who does what to whom, from where to where, what is more than what."""

    name = "exchanged"

    def differs(self, pair: Pair) -> str:
        """Told by the word before each, articles left out; "X and Y" is the same as "Y and X".

        Where a word comes twice, as in New York and New Jersey, it takes the two or three words before each.
        """
        a, b = pair.a, pair.b
        moved = _moved(a, b)
        exchanged = _exchanged(moved) if len(moved) > 1 else ""
        if not exchanged and a.repeats and b.repeats and _shared(a, b) != _shared(b, a):
            exchanged = _exchanged(_moved_behind(a, b, 2)) or _exchanged(_moved_behind(a, b, 3))
        return exchanged or ("I and me" if _is_turned(a, b) or _is_turned(b, a) else "")


def _exchanged(moved: Iterable[tuple[str, Hashable, Hashable]]) -> str:
    """Two words, each of which stands where the other one stood; of words, and what is before them in either text."""
    seen: dict[tuple[Hashable, Hashable], str] = {}
    for word, here, there in moved:
        if other := seen.get((there, here)):
            return f"{other} and {word}"
        seen[here, there] = word
    return ""


def _moved(a: Features, b: Features) -> list[tuple[str, str, str]]:
    before_b = b.before
    return [
        (word, here, there)
        for word, here in a.before.items()
        if (there := before_b.get(word, here)) != here and here not in _EVEN and there not in _EVEN
    ]


Contexts = frozenset[tuple[str, ...]]


def _moved_behind(a: Features, b: Features, count: int) -> Iterator[tuple[str, Contexts, Contexts]]:
    contexts_b = _contexts(b, count)
    for word, contexts in _contexts(a, count).items():
        others = contexts_b.get(word, contexts)
        here, there = frozenset(contexts - others), frozenset(others - contexts)
        if here and there and all(_EVEN.isdisjoint(context) for context in here | there):
            yield word, here, there


def _contexts(text: Features, count: int) -> dict[str, set[tuple[str, ...]]]:
    """Each word to so many words before it in its sentence, wherever it stands; not words that join phrases."""
    found: dict[str, set[tuple[str, ...]]] = {}
    behind = nothing = ("",) * count
    for word in text.words:
        if word not in _JOINING:
            found.setdefault(word, set()).add(behind)
        behind = (*behind[1:], word) if word else nothing
    return found


def _shared(text: Features, other: Features) -> list[str]:
    """The words of a text that the other one has too, as they come."""
    words = set(other.words)
    return [word for word in text.words if word in words]


def _is_turned(one: Features, other: Features) -> bool:
    """Whether I do in one text what is done to me in the other."""
    return any(
        one.before[word] in ("i", "we") and other.after.get(word) in ("me", "us")
        for word in one.content_words
    )


_EVEN = frozenset(("and", "or", "vs", "versus", "compar"))
"""Words on whose two sides it does not matter which is which."""
_JOINING = _EVEN | {
    *("", "to", "from", "with", "without", "in", "into", "by", "of", "for", "on", "at"),
    *("before", "after", "over", "during", "about", "if", "when", "while", "than"),
}
"""Words that join phrases: where two of them have changed places, it may be that their phrases only have."""


class Names(Check):
    """Names and identifiers must be in the other text, as names or not."""

    name = "names"

    def differs(self, pair: Pair) -> str:
        """Both ways; slips of the pen and initials are forgiven."""
        left_a, left_b = pair.left
        missing = (left_a & pair.a.names) | (left_b & pair.b.names)
        return f"names: {_list(missing)}" if missing else ""


class Exclusivity(Check):
    """Only."""

    name = "limits"

    def differs(self, pair: Pair) -> str:
        """In both texts or in none."""
        return "only one of the two says only" if pair.a.limits != pair.b.limits else ""


class Matter(Check):
    """Words that carry the content_words: what one text has and the other has not."""

    name = "content_words"

    def differs(self, pair: Pair) -> str:
        """One word for another between the same neighbours; words in one text only; too little in common."""
        a, b = pair.a, pair.b
        left_a, left_b = pair.left
        places = {(b.before[word], b.after.get(word, "")): word for word in left_b}
        places |= {(b.before[word], ""): word for word in left_b if b.before[word] in _DOERS}
        for word in left_a:
            before = a.before[word]
            other = places.get((before, "" if before in _DOERS else a.after.get(word, "")))
            if other is not None:
                return f"{a.content_words[word]} and {b.content_words[other]}"
        if bool(left_a) != bool(left_b):
            extra = _list(
                [a.content_words[word] for word in left_a] + [b.content_words[word] for word in left_b]
            )
            return f"only one of the two says {extra}"
        shared = len(a.content_words) + len(b.content_words) - len(left_a) - len(left_b)
        if shared < LEAST_SHARED * (len(a.content_words) + len(b.content_words)) or not (shared or a.numbers):
            return "little in common"
        return ""


_DOERS = frozenset(("i", "you", "we"))
"""What follows is what is to be done."""
LEAST_SHARED = 0.7
"""Of the words of content_words: two questions that share less are about two things, or too hard to judge."""


def _amount(number: tuple[str, str]) -> str:
    return " ".join(filter(None, number))


def _list(words: object) -> str:
    return ", ".join(sorted(words)) or "none"  # type: ignore[call-overload]  # an iterable of strings


CHECKS: tuple[Check, ...] = (
    Language(),
    Numbers(),
    Units(),
    Negation(),
    Opposites(),
    QuestionType(),
    Task(),
    Quoted(),
    Exclusivity(),
    SwappedArguments(),
    Names(),
    Matter(),
)
"""All of them, the cheapest and surest first."""
