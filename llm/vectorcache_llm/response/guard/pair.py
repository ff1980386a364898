"""Comparison of two texts: the words of each text that have no counterpart in the other."""

from __future__ import annotations

from functools import cached_property

from vectorcache_llm.response.guard.features import Features
from vectorcache_llm.response.guard.typos import is_typo

LONGEST_INITIALS = 6


class Pair:
    """Two texts, and their content words that have no counterpart in the other text."""

    def __init__(self, a: Features, b: Features) -> None:
        self.a = a
        self.b = b

    @cached_property
    def unmatched(self) -> tuple[set[str], set[str]]:
        """The names of the content words of each text that have no counterpart in the other.

        Synonyms share a name. This property also matches compounds written as one or two words, initials and typos.
        """
        a, b = self.a, self.b
        left_a, left_b = (
            a.content_words.keys() - b.content_words.keys(),
            b.content_words.keys() - a.content_words.keys(),
        )
        _match(a, left_a, b, left_b)
        _match(b, left_b, a, left_a)
        return left_a, left_b


def _match(text: Features, left: set[str], other: Features, others: set[str]) -> None:
    for word in tuple(left):
        partners = _partners(word, text, other, others)
        if partners:
            left.discard(word)
            others -= partners


def _partners(word: str, text: Features, other: Features, others: set[str]) -> set[str]:
    written = text.content_words[word]
    together = other.joined.get(written)
    if together:
        return set(together)
    place = other.initials.find(written) if 2 <= len(written) <= LONGEST_INITIALS else -1
    if place >= 0:
        return set(other.sequence[place : place + len(written)])
    return {
        candidate
        for candidate in others
        if not (word in text.listed and candidate in other.listed)
        and is_typo(written, other.content_words[candidate])
    }
