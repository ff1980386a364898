"""A text's words, numbers and signs, each with what is known of it alone.

Prompts of one application share most of their words: what can be told of a word without its neighbours is told once.
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
"""Words that stay known."""

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
"""An "a" before them may be the letter."""
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)


class Token:
    """A word, number or sign of a text. Shared between texts: never changed.

    Attributes:
        written, lower: as it stands there, and in lower case; a number's ``lower`` is an attached unit.
        initial: it begins a sentence, so that a capital tells nothing.
        value: a number's normal form, else empty.
        word: what the lists know.
        is_identifier: it has what only names of things have, such as a digit or a dot.
        is_capital: it has a capital where a sentence does not ask for one.
        is_name: it is written as names are.
        is_article: an article or a possessive; ``is_label``: an "a" that is none.
        content_words: its name as a word that carries the matter, or empty.
        here: what its neighbours remember of it.
        leads: a phrase or a number in words may begin with it.
    """

    __slots__ = (
        "content_words",
        "here",
        "initial",
        "is_article",
        "is_capital",
        "is_identifier",
        "is_label",
        "is_name",
        "leads",
        "lower",
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
        word: Word | None = None,
        in_title: bool = False,
    ) -> None:
        self.written = written
        self.lower = lower
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
        self.content_words = self._carried()
        self.here = self.content_words or self.word.unit or lower
        self.leads = lower in SPOKEN or lower in lexicon().phrases

    def _carried(self) -> str:
        """A stop word with a capital, such as Go, is a name."""
        word = self.word
        if word.unit or word.negates or self.lower in MAGNITUDES:
            return ""
        if word.stop:
            return self.lower if len(self.written) > 1 and not word.languages and self.is_name else ""
        return word.name

    def in_title(self) -> Token:
        """The same where capitals tell no names."""
        return Token(self.written, self.lower, self.initial, self.value, word=self.word, in_title=True)

    def as_label(self) -> Token:
        """The same where it is no article but a label: it has a place, but carries no matter, for that is a guess."""
        label = copy(self)
        label.is_article = False
        label.is_label = True
        return label

    def without_unit(self, in_title: bool) -> Token:
        """The same where it does not stand for a unit."""
        word = replace(self.word, unit="")
        return Token(self.written, self.lower, self.initial, self.value, word=word, in_title=in_title)


def tokens_of(text: str) -> list[Token]:
    """The tokens of a text in Unicode's normal form KC; some microseconds a word."""
    tokens = _phrased(_split(text))
    titled = _is_title(tokens)
    if titled:
        tokens = [token.in_title() for token in tokens]
    for place, token in enumerate(tokens):
        if token.word.unit and not _is_unit(token, tokens[place - 1] if place else None):
            tokens[place] = token.without_unit(titled)
        elif token.lower == "a" and _is_label(tokens, place, titled):
            tokens[place] = token.as_label()
    return tokens


def _split(text: str) -> list[Token]:
    tokens: list[Token] = []
    initial = True
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "pause":
            initial = True
            continue
        if kind == "word":
            written = match.group()
            tokens.append((_word if len(written) <= LONGEST_WORD else _word_anew)(written, initial))
        elif kind == "suffix":  # the last group of a number
            tokens.append(_number(match.group("number"), match.group("suffix"), initial))
        elif kind == "date":
            tokens += _date(match.group())
        else:
            tokens.append(Token(match.group(), match.group(), initial))
        initial = False
    return tokens


def _word_anew(written: str, initial: bool) -> Token:
    if written.isalpha():
        lower = "usa" if written == "US" else written.lower()
    else:
        lower = _CLITIC.sub("", written).lower().replace("'", "").replace("’", "")
    return Token(written, lower, initial)


_word = lru_cache(maxsize=REMEMBERED)(_word_anew)


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
        Token(name.capitalize(), name, False),
        Token(day, "", False, in_digits(day)),
        Token(year, "", False, year),
    )


def _phrased(tokens: list[Token]) -> list[Token]:
    """With phrases that the lists know as one word, and numbers in words as numbers."""
    if not any(token.leads for token in tokens):
        return tokens
    lowers = [token.lower for token in tokens]
    result: list[Token] = []
    place = 0
    while place < len(tokens):
        token, taken = _joined(tokens[place], lowers, place) if tokens[place].leads else (tokens[place], 1)
        result.append(token)
        place += taken
    return result


def _joined(token: Token, lowers: list[str], place: int) -> tuple[Token, int]:
    """The token, or the number or phrase that begins with it, and how many tokens that takes."""
    if token.lower in SPOKEN:
        value, words = spoken(lowers, place)
        return (Token(token.written, "", token.initial, value), words) if words else (token, 1)
    for rest in lexicon().phrases[token.lower]:
        if tuple(lowers[place + 1 : place + 1 + len(rest)]) == rest:
            lower = "_".join((token.lower, *rest))
            return Token(token.written, lower, token.initial, token.value), 1 + len(rest)
    return token, 1


def _is_title(tokens: Sequence[Token]) -> bool:
    """Whether capitals stand everywhere, so that they tell no names."""
    capitals = sum(token.is_capital for token in tokens)
    if capitals < 3:
        return False
    words = sum(not token.initial and token.written[0].isalpha() for token in tokens)
    return words >= 4 and capitals > 0.7 * words


def _is_unit(token: Token, before: Token | None) -> bool:
    """Short ones are units after a number and after "in" and "per" only: ML is none."""
    if token.value or len(token.lower) > 2 or not token.lower.isalpha():
        return True
    if before is None:
        return False
    return bool(before.value) or (before.lower in ("in", "per") and not token.written.isupper())


def _is_label(tokens: Sequence[Token], place: int, titled: bool) -> bool:
    """Whether an "a" is one, as in "list a" and "list A": no noun follows, or there is a "list b" as well."""
    if place + 1 == len(tokens) or _NO_NOUN.fullmatch(tokens[place + 1].lower):
        return True
    if tokens[place].is_capital and not titled and not tokens[place + 1].is_capital:
        return True
    before = tokens[place - 1].lower if place else ""
    return any(
        len(label.lower) == 1 and label.lower not in "ai" and labelled.lower == before
        for labelled, label in pairwise(tokens)
    )
