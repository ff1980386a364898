"""What the guard compares of a text."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from vectorcache_llm.response.guard.lexicon import Word
from vectorcache_llm.response.guard.numerals import MAGNITUDES, in_digits
from vectorcache_llm.response.guard.question import HINTS, asked
from vectorcache_llm.response.guard.tokens import Token, tokens_of

_QUOTED = re.compile(r"`([^`\n]+)`|\"([^\"\n]+)\"|“([^“”\n]+)”|«([^«»\n]+)»")
_QUOTES = frozenset('`"“«')
_EVERY = frozenset(["all", "every", "each"])
_SINGLE = frozenset(["a", "an"])
_LIMITS = frozenset(["only", "solely", "exclusively"])
_TELLING = _LIMITS | HINTS.keys()
_POLITE = frozenset({("why", "dont"), ("", "cant"), ("", "couldnt"), ("", "wont"), ("", "wouldnt")})
"""With "you" after them, requests and no negations."""


@dataclass(slots=True)
class Features:
    """What a text says that must be the same in another one.

    Attributes:
        text: the text.
        script: the one of most of its letters, such as "LATIN".
        language: a code, or empty where nothing tells it.
        numbers: values with their units, in order.
        units: units that are named, with a number or without; ``times`` those of time.
        negations: how many words negate.
        antonyms: axis to the ends that are named.
        limits: words such as "only".
        asks: its first question word's kind, or empty; ``hints``: kinds that other words do the work of.
        joining: question words that join clauses.
        tasks: what the model is to do.
        quoted: what stands in quotation marks.
        content_words: words that carry it, by the name of their synonyms, in order, to how they are written.
        names: those that are names or identifiers; ``listed``: those that are in the lists.
        words: all of them and the numbers' values, as neighbours remember them, articles left out; empty where a
            sentence begins.
        repeats: whether one of them comes twice.
        before, after: each word of matter or unit to its neighbours in ``words``.
        sequence: names of the words of matter as they come, and ``initials``, their first letters.
        joined: two neighbours of matter written as one, to their names.
        every, single: words of matter that follow "every" or the like, or "a".
    """

    text: str
    script: str = ""
    language: str = ""
    numbers: list[tuple[str, str]] = field(default_factory=list)
    units: set[str] = field(default_factory=set)
    times: set[str] = field(default_factory=set)
    negations: int = 0
    antonyms: dict[int, set[int]] = field(default_factory=dict)
    limits: set[str] = field(default_factory=set)
    asks: str = ""
    joining: frozenset[str] = frozenset()
    hints: set[str] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)
    quoted: frozenset[str] = frozenset()
    content_words: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    words: list[str] = field(default_factory=list)
    repeats: bool = False
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    sequence: list[str] = field(default_factory=list)
    initials: str = ""
    joined: dict[str, tuple[str, str]] = field(default_factory=dict)
    every: set[str] = field(default_factory=set)
    single: set[str] = field(default_factory=set)


def features_of(text: str) -> Features:
    """Read a text once; some microseconds a word."""
    tokens = tokens_of(text if text.isascii() else unicodedata.normalize("NFKC", text))
    found = Features(text)
    found.script = _script(text)
    found.language = _language(tokens)
    if any(mark in text for mark in _QUOTES):
        quoted = (next(filter(None, match)) for match in _QUOTED.findall(text))
        found.quoted = frozenset(part.strip().casefold() for part in quoted)
    _read_numbers(found, tokens)
    _read_words(found, tokens)
    _read_quantities(found, tokens)
    found.asks, found.joining = asked(tokens)
    return found


def _script(text: str) -> str:
    if text.isascii():
        return "LATIN"
    letters = Counter(unicodedata.name(letter, "").split(" ")[0] for letter in text if letter.isalpha())
    return letters.most_common(1)[0][0] if letters else "LATIN"


def _language(tokens: Sequence[Token]) -> str:
    """English where nothing speaks against it: another language needs two words, and more than English has."""
    telling = [token.word.languages for token in tokens if token.word.languages]
    if all("en" in languages for languages in telling):
        return "en" if telling else ""
    told = Counter(language for languages in telling for language in languages)
    most = max(told.values())
    if told["en"] == most:
        return "en"
    return max(told, key=told.__getitem__) if most >= 2 else ""


def _read_numbers(found: Features, tokens: Sequence[Token]) -> None:
    for place, token in enumerate(tokens):
        unit = token.word
        if token.value:
            after = tokens[place + 1].lower if place + 1 < len(tokens) else ""
            value = in_digits(token.value, after) if after in MAGNITUDES else token.value
            if not token.lower:
                unit = _neighbouring_unit(tokens, place)
            found.numbers.append((value, unit.unit))
        if unit.unit:
            (found.times if unit.of_time else found.units).add(unit.unit)


def _neighbouring_unit(tokens: Sequence[Token], place: int) -> Word:
    """The word after a number or, for a currency's sign, before it; or the number's own, which names no unit."""
    near = (tokens[near].word for near in (place + 1, place + 2, place - 1) if 0 <= near < len(tokens))
    return next((word for word in near if word.unit), tokens[place].word)


def _read_words(found: Features, tokens: Sequence[Token]) -> None:
    last = ""
    words, before, after = found.words, found.before, found.after
    for place, token in enumerate(tokens):
        if token.initial:
            words.append("")
        if token.value:
            after[last] = last = token.value
            words.append(last)
            continue
        word = token.word
        if word.antonyms or word.task or token.lower in _TELLING:
            _read_meaning(found, token)
        if word.negates and _negates(found.language, tokens, place):
            found.negations += 1
        if token.is_article:
            continue
        here = token.here
        if token.content_words or word.unit or token.is_label:
            before[here] = last
        after[last] = last = here
        words.append(here)
        if token.content_words:
            _read_matter(found, token)
    found.repeats = len(set(words)) < len(words)
    found.initials = "".join([found.content_words[name][0] for name in found.sequence])


def _read_meaning(found: Features, token: Token) -> None:
    for axis, end in token.word.antonyms:
        found.antonyms.setdefault(axis, set()).add(end)
    if token.word.task:
        found.tasks.add(token.word.task)
    if token.lower in _LIMITS:
        found.limits.add("only")
    hint = HINTS.get(token.lower)
    if hint:
        found.hints.add(hint)


def _read_matter(found: Features, token: Token) -> None:
    name = token.content_words
    if found.sequence:
        previous = found.sequence[-1]
        found.joined[found.content_words[previous] + token.lower] = (previous, name)
    found.content_words[name] = token.lower
    found.sequence.append(name)
    if token.word.listed:
        found.listed.add(name)
    if token.is_name:
        found.names.add(name)


def _read_quantities(found: Features, tokens: Sequence[Token]) -> None:
    for token, following in pairwise(tokens):
        if following.content_words and token.lower in _EVERY:
            found.every.add(following.content_words)
        elif following.content_words and token.is_article and token.lower in _SINGLE:
            found.single.add(following.content_words)


def _negates(language: str, tokens: Sequence[Token], place: int) -> bool:
    """Not where it is polite ("why don't you"), or only one of two ways ("whether or not")."""
    if (language or "en") not in tokens[place].word.negates:
        return False
    before = tokens[place - 1].lower if place else ""
    after = tokens[place + 1].lower if place + 1 < len(tokens) else ""
    polite = after in ("you", "we") and (before, tokens[place].lower) in _POLITE
    return not (polite or (before == "or" and tokens[place].lower == "not") or after == "only")
