"""The features of a text that the guard compares."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from vectorcache_llm.response.guard.numerals import MAGNITUDES, in_digits
from vectorcache_llm.response.guard.question import HINTS, Question, question_of
from vectorcache_llm.response.guard.tokens import Token, tokens_of

_QUOTED = re.compile(r"`([^`\n]+)`|\"([^\"\n]+)\"|“([^“”\n]+)”|«([^«»\n]+)»")
_QUOTES = frozenset('`"“«')
_EVERY = frozenset(["all", "every", "each"])
_SINGLE = frozenset(["a", "an"])
_EXCLUSIVE = frozenset(["only", "solely", "exclusively"])
_MEANINGFUL = _EXCLUSIVE | HINTS.keys()
_POLITE = frozenset({("why", "dont"), ("", "cant"), ("", "couldnt"), ("", "wont"), ("", "wouldnt")})
"""Before "you" or "we" these form a polite request and do not negate."""


@dataclass(slots=True)
class Features:
    """The features of a text that must be the same in another text to share a reply.

    A name is a normalised form of a word: that of its synonyms, or its stem. Names are for comparison only; messages
    print the words as written.

    Attributes:
        text: the text.
        script: the script of most of its letters, such as "LATIN".
        language: a language code, or empty if unknown.
        numbers: values with their units, in order of appearance; ``amounts``: each of them as written.
        units: units by name, with or without a number, as written; ``times``: the same for units of time.
        negations: number of negating words.
        antonyms: group of antonyms to the senses that the text names.
        exclusive: a word such as "only" as written, or empty.
        question: the type of its first question; ``hints``: types that other words indicate.
        tasks: what the model is to do, by name, as written.
        quoted: texts in quotation marks.
        content_words: content words by name, in order of appearance, to their spelling in lower case.
        names: those that are names or identifiers; ``listed``: those that are in the lexicon.
        words: the keys of all words and the values of all numbers in order, without articles; empty where a sentence
            begins.
        sources: each of ``words`` as written.
        repeats: whether one of ``words`` appears twice.
        before, after: the neighbours in ``words`` of each content word, unit and label.
        sequence: the names of all content words in order; ``initials``: their first letters.
        joined: two neighbouring content words written as one word, to their names.
        every, single: content words that follow "every" or the like, or "a", by name, to that word as written.
    """

    text: str
    script: str = ""
    language: str = ""
    numbers: list[tuple[str, str]] = field(default_factory=list)
    amounts: dict[tuple[str, str], str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    times: dict[str, str] = field(default_factory=dict)
    negations: int = 0
    antonyms: dict[int, set[int]] = field(default_factory=dict)
    exclusive: str = ""
    question: Question = Question("", "", {})  # noqa: RUF009 - immutable
    hints: set[str] = field(default_factory=set)
    tasks: dict[str, str] = field(default_factory=dict)
    quoted: frozenset[str] = frozenset()
    content_words: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    words: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    repeats: bool = False
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    sequence: list[str] = field(default_factory=list)
    initials: str = ""
    joined: dict[str, tuple[str, str]] = field(default_factory=dict)
    every: dict[str, str] = field(default_factory=dict)
    single: dict[str, str] = field(default_factory=dict)


def features_of(text: str) -> Features:
    """Return the features of a text. Takes a few microseconds per word."""
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
    found.question = question_of(tokens)
    return found


def _script(text: str) -> str:
    if text.isascii():
        return "LATIN"
    letters = Counter(unicodedata.name(letter, "").split(" ")[0] for letter in text if letter.isalpha())
    return letters.most_common(1)[0][0] if letters else "LATIN"


def _language(tokens: Sequence[Token]) -> str:
    """Return the language. One other than English needs at least two indicative words, and more than English has."""
    indicated = [token.word.languages for token in tokens if token.word.languages]
    if all("en" in languages for languages in indicated):
        return "en" if indicated else ""
    counts = Counter(language for languages in indicated for language in languages)
    most = max(counts.values())
    if counts["en"] == most:
        return "en"
    return max(counts, key=counts.__getitem__) if most >= 2 else ""


def _read_numbers(found: Features, tokens: Sequence[Token]) -> None:
    for place, token in enumerate(tokens):
        unit = token.word
        if token.value:
            value, written, source = token.value, token.source, token.source
            after = tokens[place + 1] if place + 1 < len(tokens) else None
            if after is not None and after.lower in MAGNITUDES:
                value, written = in_digits(value, after.lower), f"{written} {after.source}"
            near = None if token.lower else _neighbouring_unit(tokens, place)
            if near is not None:
                unit, source = tokens[near].word, tokens[near].source
                space = " " if source[0].isalnum() else ""
                written = f"{source}{space}{written}" if near < place else f"{written}{space}{source}"
            found.numbers.append((value, unit.unit))
            found.amounts[value, unit.unit] = written
        else:
            source = token.source
        if unit.unit:
            (found.times if unit.of_time else found.units)[unit.unit] = source


def _neighbouring_unit(tokens: Sequence[Token], place: int) -> int | None:
    """Return the place of a number's unit: after the number or, for a currency sign, before it."""
    near = (near for near in (place + 1, place + 2, place - 1) if 0 <= near < len(tokens))
    return next((place for place in near if tokens[place].word.unit), None)


def _read_words(found: Features, tokens: Sequence[Token]) -> None:
    last = ""
    words, sources, before, after = found.words, found.sources, found.before, found.after
    for place, token in enumerate(tokens):
        if token.initial:
            words.append("")
        if token.value:
            after[last] = last = token.value
            words.append(last)
            sources[last] = token.source
            continue
        word = token.word
        if word.antonyms or word.task or token.lower in _MEANINGFUL:
            _read_meaning(found, token)
        if word.negates and _negates(found.language, tokens, place):
            found.negations += 1
        if token.is_article:
            continue
        key = token.key
        if token.content_word or word.unit or token.is_label:
            before[key] = last
        after[last] = last = key
        words.append(key)
        sources[key] = token.source
        if token.content_word:
            _read_content_word(found, token)
    found.repeats = len(set(words)) < len(words)
    found.initials = "".join([found.content_words[name][0] for name in found.sequence])


def _read_meaning(found: Features, token: Token) -> None:
    for group, sense in token.word.antonyms:
        found.antonyms.setdefault(group, set()).add(sense)
    if token.word.task:
        found.tasks[token.word.task] = token.source
    if token.lower in _EXCLUSIVE:
        found.exclusive = token.source
    hint = HINTS.get(token.lower)
    if hint:
        found.hints.add(hint)


def _read_content_word(found: Features, token: Token) -> None:
    name = token.content_word
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
        if following.content_word and token.lower in _EVERY:
            found.every[following.content_word] = token.source
        elif following.content_word and token.is_article and token.lower in _SINGLE:
            found.single[following.content_word] = token.source


def _negates(language: str, tokens: Sequence[Token], place: int) -> bool:
    """Return whether a negating word negates, unlike in a polite request ("why don't you") or in "whether or not"."""
    if (language or "en") not in tokens[place].word.negates:
        return False
    before = tokens[place - 1].lower if place else ""
    after = tokens[place + 1].lower if place + 1 < len(tokens) else ""
    polite = after in ("you", "we") and (before, tokens[place].lower) in _POLITE
    return not (polite or (before == "or" and tokens[place].lower == "not") or after == "only")
