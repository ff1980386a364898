"""The words, numbers and signs of a text, each with the properties that do not depend on its neighbours.

Prompts of one application share most of their words, so the tokens of words are cached.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

from vectorcache_llm.response.guard.lexicon import LONGEST_WORD, Word, lexicon
from vectorcache_llm.response.guard.numerals import MAGNITUDES, SPOKEN, in_digits, spoken

REMEMBERED = 1 << 15
"""Maximum number of cached words."""

_TOKEN = re.compile(
    r"""
    (?P<word>[^\W\d_][^\W_]*(?:(?:['’.@_]|::)[^\W_]+)*(?:\+\+|\#)?)
    | (?P<pause>[.!?\n:;"“«(`])
    | (?P<date>\d{4}-\d{2}-\d{2}(?!\d))
    | (?P<number>(?:(?<![\w).])[-−])?\d+(?:,\d{3})*(?:[.:]\d+)*)(?P<suffix>[^\W\d_]*)
    | (?P<sign>[%$€£¥₹°])
    """,
    re.VERBOSE,
)
_CLITIC = re.compile(r"['’](?:s|re|ll|ve|d|m)$")
_IDENTIFYING = frozenset("._@:+#0123456789")
_ARTICLES = frozenset(["a", "an", "the", "my", "your", "our", "his", "her", "its", "their"])
_NO_NOUN = re.compile(
    "to|from|with|without|in|into|by|of|for|on|at|before|after|over|and|or|than|then|instead"
    "|is|are|was|do|does|if|when|while"
)
"""Words that are not nouns. An "a" before one of them may be the letter rather than the article."""
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)


class Token:
    """A word, number or sign of a text. It is immutable, because texts share it.

    Attributes:
        written: the word as written in the text; of a phrase, its first word.
        lower: the word or phrase in lower case; of a number, the unit attached to it.
        source: the text that the token was read from, with all words of a phrase.
        initial: whether it begins a sentence, where a capital does not indicate a name.
        value: the normal form of a number, else empty.
        word: its entry in the lexicon.
        is_identifier: whether it has a character that only identifiers have, such as a digit or a dot.
        is_capital: whether it has a capital although it does not begin a sentence.
        is_name: whether it is written as names are.
        is_article: whether it is an article or a possessive; ``is_label``: whether it is an "a" that is not one.
        content_word: its name if it is a content word, else empty.
        key: what its neighbours store as their context: a content word's or unit's name, or ``lower``.
        leads: whether a phrase or a number in words may begin with it.
    """

    __slots__ = (
        "content_word",
        "initial",
        "is_article",
        "is_capital",
        "is_identifier",
        "is_label",
        "is_name",
        "key",
        "leads",
        "lower",
        "source",
        "value",
        "word",
        "written",
    )

    def __init__(
        self,
        written: str,
        lower: str,
        initial: bool,
        value: str = "",
        *,
        source: str = "",
        word: Word | None = None,
        in_title: bool = False,
    ) -> None:
        self.written = written
        self.lower = lower
        self.source = source or written
        self.initial = initial
        self.value = value
        self.word = word or lexicon().word(lower)
        self.is_identifier = not written.isalpha() and not _IDENTIFYING.isdisjoint(written)
        self.is_capital = not initial and written[0].isupper()
        self.is_name = self.is_identifier or (
            not in_title and not written.islower() and (not initial or not written[1:].islower())
        )
        self.is_article = lower in _ARTICLES
        self.is_label = False
        self.content_word = self._content_word()
        self.key = self.content_word or self.word.unit or lower
        self.leads = lower in SPOKEN or lower in lexicon().phrases

    def _content_word(self) -> str:
        """Return the name of a content word, else empty. A stop word with a capital, such as Go, is a content word."""
        word = self.word
        if word.unit or word.negates or self.lower in MAGNITUDES:
            return ""
        if word.stop:
            return self.lower if len(self.written) > 1 and not word.languages and self.is_name else ""
        return word.name

    def in_title(self) -> Token:
        """Return the same token for a text in title case, where capitals do not indicate names."""
        return self._copy(self.word, in_title=True)

    def as_label(self) -> Token:
        """Return the same token as a label instead of an article.

        A label has neighbours, but is not a content word, because the classification is a guess.
        """
        label = copy(self)
        label.is_article = False
        label.is_label = True
        return label

    def without_unit(self, in_title: bool) -> Token:
        """Return the same token as a word that does not name a unit."""
        return self._copy(replace(self.word, unit=""), in_title=in_title)

    def _copy(self, word: Word, in_title: bool) -> Token:
        return Token(
            self.written,
            self.lower,
            self.initial,
            self.value,
            source=self.source,
            word=word,
            in_title=in_title,
        )


def tokens_of(text: str) -> list[Token]:
    """Return the tokens of a text in Unicode normal form KC. Takes a few microseconds per word."""
    tokens = _join_phrases(text, *_split(text))
    titled = _is_title(tokens)
    if titled:
        tokens = [token.in_title() for token in tokens]
    for place, token in enumerate(tokens):
        if token.word.unit and not _is_unit(token, tokens[place - 1] if place else None):
            tokens[place] = token.without_unit(titled)
        elif token.lower == "a" and _is_label(tokens, place, titled):
            tokens[place] = token.as_label()
    return tokens


Span = tuple[int, int]
"""The offsets of a token in its text: begin and end."""


def _split(text: str) -> tuple[list[Token], list[Span]]:
    tokens: list[Token] = []
    spans: list[Span] = []
    initial = True
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "pause":
            initial = True
            continue
        if kind == "word":
            written = match.group()
            tokens.append((_word if len(written) <= LONGEST_WORD else _new_word)(written, initial))
        elif kind == "suffix":  # the last group of a number
            tokens.append(_number(match.group("number"), match.group("suffix"), initial))
        elif kind == "date":
            tokens += _date(match.group())
        else:
            tokens.append(Token(match.group(), match.group(), initial))
        spans += [match.span()] * (len(tokens) - len(spans))  # a date is three tokens
        initial = False
    return tokens, spans


def _new_word(written: str, initial: bool) -> Token:
    if written.isalpha():
        lower = "usa" if written == "US" else written.lower()
    else:
        lower = _CLITIC.sub("", written).lower().replace("'", "").replace("’", "")
    return Token(written, lower, initial)


_word = lru_cache(maxsize=REMEMBERED)(_new_word)


def _number(digits: str, suffix: str, initial: bool) -> Token:
    low = suffix.lower()
    if low in MAGNITUDES:
        return Token(digits + suffix, "", initial, in_digits(digits, low))
    is_unit = bool(lexicon().word(low).unit)
    if not low or is_unit or low in ("st", "nd", "rd", "th", "x"):
        return Token(digits + suffix, low if is_unit else "", initial, in_digits(digits))
    return Token(digits + suffix, (digits + suffix).lower(), initial)  # such as 3D


def _date(written: str) -> tuple[Token, ...]:
    year, month, day = written.split("-")
    name = _MONTHS[int(month) - 1] if 1 <= int(month) <= 12 else month
    return (
        Token(name.capitalize(), name, False, source=written),
        Token(day, "", False, in_digits(day), source=written),
        Token(year, "", False, year, source=written),
    )


def _join_phrases(text: str, tokens: list[Token], spans: Sequence[Span]) -> list[Token]:
    """Replace the words of a listed phrase by one token, and those of a number in words by a number."""
    if not any(token.leads for token in tokens):
        return tokens
    lowers = [token.lower for token in tokens]
    result: list[Token] = []
    place = 0
    while place < len(tokens):
        token, taken = tokens[place], 1
        if token.leads:
            lower, value, taken = _phrase(token, lowers, place)
            if taken:
                source = " ".join(text[spans[place][0] : spans[place + taken - 1][1]].split())
                token = Token(token.written, lower, token.initial, value, source=source)
        result.append(token)
        place += taken or 1
    return result


def _phrase(token: Token, lowers: list[str], place: int) -> tuple[str, str, int]:
    """Return the lower case and the value of the number or phrase that begins with a token, and its number of tokens.

    The number of tokens is 0 if none begins with it.
    """
    if token.lower in SPOKEN:
        value, words = spoken(lowers, place)
        return "", value, words
    for rest in lexicon().phrases[token.lower]:
        if tuple(lowers[place + 1 : place + 1 + len(rest)]) == rest:
            return "_".join((token.lower, *rest)), token.value, 1 + len(rest)
    return "", "", 0


def _is_title(tokens: Sequence[Token]) -> bool:
    """Return whether the text is in title case, where capitals do not indicate names."""
    capitals = sum(token.is_capital for token in tokens)
    if capitals < 3:
        return False
    words = sum(not token.initial and token.written[0].isalpha() for token in tokens)
    return words >= 4 and capitals > 0.7 * words


def _is_unit(token: Token, before: Token | None) -> bool:
    """Return whether a token that may name a unit does: a short one such as "ML" only after a number, "in" or "per"."""
    if token.value or len(token.lower) > 2 or not token.lower.isalpha():
        return True
    if before is None:
        return False
    return bool(before.value) or (before.lower in ("in", "per") and not token.written.isupper())


def _is_label(tokens: Sequence[Token], place: int, titled: bool) -> bool:
    """Return whether an "a" is a label, as in "list a": no noun follows it, or the text has a "list b" as well."""
    if place + 1 == len(tokens) or _NO_NOUN.fullmatch(tokens[place + 1].lower):
        return True
    if tokens[place].is_capital and not titled and not tokens[place + 1].is_capital:
        return True
    before = tokens[place - 1].lower if place else ""
    return any(
        len(label.lower) == 1 and label.lower not in "ai" and labelled.lower == before
        for labelled, label in pairwise(tokens)
    )
