"""The guard's checks: one small class for each property that two questions must share to get the same reply."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import ClassVar, TypeVar

from vectorcache_llm.response.guard.features import Features
from vectorcache_llm.response.guard.pair import Pair

K = TypeVar("K")


class Check(ABC):
    """One kind of difference between texts. Checks are stateless; ``name`` identifies them in metrics."""

    name: ClassVar[str]

    @abstractmethod
    def differs(self, pair: Pair) -> str:
        """Return why the two texts may not share a reply, or an empty text. Symmetric.

        The reason prints words as written in the texts, not their normalised forms.
        """


class Language(Check):
    """The same script and, where both are known, the same language."""

    name = "language"

    def differs(self, pair: Pair) -> str:
        """Compare the scripts, then the languages if both are known."""
        a, b = pair.a, pair.b
        if a.script != b.script:
            return f"scripts: {a.script.lower()} and {b.script.lower()}"
        if a.language and b.language and a.language != b.language:
            return f"languages: {a.language} and {b.language}"
        return ""


class Numbers(Check):
    """The same numbers with the same units, and in the same order if they share a unit."""

    name = "numbers"

    def differs(self, pair: Pair) -> str:
        """Compare the numbers without their order first, then with it: "2 of 10" is not "10 of 2"."""
        a, b = pair.a, pair.b
        if a.numbers == b.numbers:
            return ""
        only_a, only_b = Counter(a.numbers) - Counter(b.numbers), Counter(b.numbers) - Counter(a.numbers)
        if only_a or only_b:
            return f"numbers: {_written(a.amounts, only_a)} and {_written(b.amounts, only_b)}"
        units = Counter(unit for _, unit in a.numbers)
        return "numbers in another order" if max(units.values()) > 1 else ""


class Units(Check):
    """The same units, also without a number ("in miles"). Units of time are compared only if both texts name one."""

    name = "units"

    def differs(self, pair: Pair) -> str:
        """Compare the units of measure, then the units of time."""
        a, b = pair.a, pair.b
        only_a, only_b = a.units.keys() - b.units.keys(), b.units.keys() - a.units.keys()
        if only_a or only_b:
            return f"units: {_written(a.units, only_a)} and {_written(b.units, only_b)}"
        if a.times and b.times and a.times.keys() != b.times.keys():
            return f"units of time: {_list(a.times.values())} and {_list(b.times.values())}"
        return ""


class Negation(Check):
    """The same parity of negations, because two negations cancel out."""

    name = "negation"

    def differs(self, pair: Pair) -> str:
        """Refuse an odd number of negations in one text and an even number in the other."""
        a, b = pair.a, pair.b
        return "only one of the two is negated" if (a.negations - b.negations) % 2 else ""


class Opposites(Check):
    """No antonyms: increase and decrease, before and after, first and last, Monday and Friday."""

    name = "opposites"

    def differs(self, pair: Pair) -> str:
        """Compare the senses of each group of antonyms that both texts name."""
        a, b = pair.a, pair.b
        for group, senses in a.antonyms.items():
            others = b.antonyms.get(group)
            if others is not None and senses != others:
                return "opposites"
        for one, other in ((a, b), (b, a)):
            for word in one.every.keys() & other.single.keys():
                return f"{one.every[word]} and {other.single[word]}"
        return ""


class QuestionType(Check):
    """The same type of question: why, when, where, who, how many."""

    name = "question"

    def differs(self, pair: Pair) -> str:
        """Require a specific question type of one text in the other: as a question word, or as a hint ("reason")."""
        a, b = pair.a, pair.b
        for one, other in ((a, b), (b, a)):
            kind = one.question.kind
            if kind in _SPECIFIC and kind != other.question.kind and kind not in other.hints:
                return f"questions: {one.question.written} and {other.question.written or 'none'}"
        joins_a, joins_b = a.question.conjunctions, b.question.conjunctions
        if joins_a and joins_b and joins_a.keys() != joins_b.keys():
            return f"clauses: {_list(joins_a.values())} and {_list(joins_b.values())}"
        return ""


_SPECIFIC = frozenset(("why", "when", "where", "who", "how long", "how many", "how much"))


class Task(Check):
    """The same task for the model: explain, write, translate, list."""

    name = "task"

    def differs(self, pair: Pair) -> str:
        """Require a common task if both texts name one."""
        a, b = pair.a, pair.b
        if a.tasks and b.tasks and a.tasks.keys().isdisjoint(b.tasks):
            return f"tasks: {_list(a.tasks.values())} and {_list(b.tasks.values())}"
        return ""


class Quoted(Check):
    """The same text in quotation marks, literally."""

    name = "quoted"

    def differs(self, pair: Pair) -> str:
        """Compare the quotations if both texts have some."""
        a, b = pair.a, pair.b
        return "quotations" if a.quoted and b.quoted and a.quoted != b.quoted else ""


class SwappedArguments(Check):
    """No two words that have swapped places: who beat whom, from where to where, what is more than what."""

    name = "exchanged"

    def differs(self, pair: Pair) -> str:
        """Compare the word before each word, without articles. "X and Y" is the same as "Y and X".

        If a word appears twice, as in New York and New Jersey, compare the two or three words before each word.
        """
        a, b = pair.a, pair.b
        moved = _moved(a, b)
        swapped = _swapped(moved) if len(moved) > 1 else None
        if swapped is None and a.repeats and b.repeats and _shared(a, b) != _shared(b, a):
            swapped = _swapped(_moved_in_context(a, b, 2)) or _swapped(_moved_in_context(a, b, 3))
        if swapped is not None:
            return f"{a.sources[swapped[0]]} and {a.sources[swapped[1]]}"
        return _reversed_roles(a, b) or _reversed_roles(b, a)


def _swapped(moved: Iterable[tuple[str, Hashable, Hashable]]) -> tuple[str, str] | None:
    """Return two words that have swapped contexts, given words with their contexts in either text."""
    seen: dict[tuple[Hashable, Hashable], str] = {}
    for word, here, there in moved:
        if other := seen.get((there, here)):
            return other, word
        seen[here, there] = word
    return None


def _moved(a: Features, b: Features) -> list[tuple[str, str, str]]:
    before_b = b.before
    return [
        (word, here, there)
        for word, here in a.before.items()
        if (there := before_b.get(word, here)) != here and here not in _SYMMETRIC and there not in _SYMMETRIC
    ]


Contexts = frozenset[tuple[str, ...]]


def _moved_in_context(a: Features, b: Features, count: int) -> Iterator[tuple[str, Contexts, Contexts]]:
    contexts_b = _contexts(b, count)
    for word, contexts in _contexts(a, count).items():
        others = contexts_b.get(word, contexts)
        here, there = frozenset(contexts - others), frozenset(others - contexts)
        if here and there and all(_SYMMETRIC.isdisjoint(context) for context in here | there):
            yield word, here, there


def _contexts(text: Features, count: int) -> dict[str, set[tuple[str, ...]]]:
    """Return each word's contexts: the ``count`` words before it in its sentence. Skips words that join phrases."""
    found: dict[str, set[tuple[str, ...]]] = {}
    behind = nothing = ("",) * count
    for word in text.words:
        if word not in _JOINING:
            found.setdefault(word, set()).add(behind)
        behind = (*behind[1:], word) if word else nothing
    return found


def _shared(text: Features, other: Features) -> list[str]:
    """Return the words of a text that the other one has too, in order."""
    words = set(other.words)
    return [word for word in text.words if word in words]


def _reversed_roles(one: Features, other: Features) -> str:
    """Return the pronouns if the speaker is the subject of a verb in one text, and its object in the other."""
    for word in one.content_words:
        subject, object_ = one.before[word], other.after.get(word)
        if subject in ("i", "we") and object_ in ("me", "us"):
            return f"{one.sources[subject]} and {other.sources[object_]}"
    return ""


_SYMMETRIC = frozenset(("and", "or", "vs", "versus", "compar"))
"""Words whose two sides may be swapped without a change of meaning."""
_JOINING = _SYMMETRIC | {
    *("", "to", "from", "with", "without", "in", "into", "by", "of", "for", "on", "at"),
    *("before", "after", "over", "during", "about", "if", "when", "while", "than"),
}
"""Words that join phrases. They may swap places because their whole phrases have, which changes nothing."""


class Names(Check):
    """The same names and identifiers, whether written as names or not."""

    name = "names"

    def differs(self, pair: Pair) -> str:
        """Refuse a name without a counterpart in the other text. A typo and initials count as counterparts."""
        missing = [
            text.sources[word]
            for text, unmatched in zip((pair.a, pair.b), pair.unmatched, strict=True)
            for word in unmatched & text.names
        ]
        return f"names: {_list(missing)}" if missing else ""


class Exclusivity(Check):
    """A word such as "only" in both texts or in neither."""

    name = "limits"

    def differs(self, pair: Pair) -> str:
        """Refuse a word such as "only" in one of the texts."""
        a, b = pair.a.exclusive, pair.b.exclusive
        return f"only one of the two says {a or b}" if bool(a) != bool(b) else ""


class ContentWords(Check):
    """The same content words, but for synonyms."""

    name = "content_words"

    def differs(self, pair: Pair) -> str:
        """Refuse one word for another between the same neighbours, words in one text only, and too few common words."""
        a, b = pair.a, pair.b
        left_a, left_b = pair.unmatched
        places = {(b.before[word], b.after.get(word, "")): word for word in left_b}
        places |= {(b.before[word], ""): word for word in left_b if b.before[word] in _SUBJECTS}
        for word in left_a:
            before = a.before[word]
            other = places.get((before, "" if before in _SUBJECTS else a.after.get(word, "")))
            if other is not None:
                return f"{a.sources[word]} and {b.sources[other]}"
        if bool(left_a) != bool(left_b):
            extra = _written(a.sources, left_a) if left_a else _written(b.sources, left_b)
            return f"only one of the two says {extra}"
        shared = len(a.content_words) + len(b.content_words) - len(left_a) - len(left_b)
        if shared < LEAST_SHARED * (len(a.content_words) + len(b.content_words)) or not (shared or a.numbers):
            return "little in common"
        return ""


_SUBJECTS = frozenset(("i", "you", "we"))
"""The word after one of these is a verb, which is compared whatever follows it."""
LEAST_SHARED = 0.7
"""Minimum share of common content words. Questions with fewer are about different things, or too hard to judge."""


def _written(sources: Mapping[K, str], keys: Iterable[K]) -> str:
    return _list(sources[key] for key in keys)


def _list(words: Iterable[str]) -> str:
    return ", ".join(sorted(set(words))) or "none"


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
    ContentWords(),
)
"""All checks, the cheapest and most reliable first."""
