"""What the guard compares of a text."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from vectorcache_llm.response.guard.lexicon import Word, lexicon
from vectorcache_llm.response.guard.numerals import MAGNITUDES, SPOKEN, in_digits, spoken

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
_QUOTED = re.compile(r"`([^`\n]+)`|\"([^\"\n]+)\"|“([^”\n]+)”|«([^»\n]+)»")
_QUOTES = frozenset('`"“«')
_CLITIC = re.compile(r"['’](?:s|re|ll|ve|d|m)$")
_IDENTIFYING = frozenset("._@:+#0123456789")
_ARTICLES = frozenset(["a", "an", "the", "my", "your", "our", "his", "her", "its", "their"])
_LIMITS = frozenset(["only", "solely", "exclusively"])
_ASKING = {
    "why": "why", "when": "when", "where": "where", "who": "who", "whom": "who", "whose": "who",
    "how": "how", "what": "what", "which": "what",
}  # fmt: skip
_HINTS = {
    hint: kind
    for kind, hints in {
        "why": ("reason", "cause", "causes", "purpose"),
        "when": ("date", "year", "time", "day", "month", "century"),
        "where": ("place", "location"),
        "who": ("person", "author", "artist", "inventor", "writer", "founder"),
        "how many": ("number", "count", "population"),
        "how much": ("amount", "cost", "price"),
    }.items()
    for hint in hints
}
"""Words by which a question asks as by a question word: "in which year" is "when"."""
_TELLING = _LIMITS | _HINTS.keys()
_MAKING = frozenset(["makes", "make", "made", "causes", "cause", "caused"])
"""After "what": asks why."""
_POLITE = frozenset({("why", "dont"), ("", "cant"), ("", "couldnt"), ("", "wont"), ("", "wouldnt")})
"""With "you" after them, requests and no negations."""
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)


class Token(NamedTuple):
    """A word, number or sign of a text; a number has a value, and an attached unit as its word."""

    written: str
    lower: str
    initial: bool
    value: str = ""


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
        poles: axis to the ends that are named.
        limits: words such as "only".
        asks: its first question word's kind, or empty; ``hints``: kinds that other words do the work of.
        tasks: what the model is to do.
        quoted: what stands in quotation marks.
        matter: words that carry it, by the name of their synonyms, in order, to how they are written.
        names: those that are names or identifiers; ``listed``: those that are in the lists.
        before, after: each word of matter or unit to its neighbours, articles left out.
        sequence: names of the words of matter as they come, and ``initials``, their first letters.
        joined: two neighbours of matter written as one, to their names.
    """

    text: str
    script: str = ""
    language: str = ""
    numbers: list[tuple[str, str]] = field(default_factory=list)
    units: set[str] = field(default_factory=set)
    times: set[str] = field(default_factory=set)
    negations: int = 0
    poles: dict[int, set[int]] = field(default_factory=dict)
    limits: set[str] = field(default_factory=set)
    asks: str = ""
    hints: set[str] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)
    quoted: frozenset[str] = frozenset()
    matter: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    sequence: list[str] = field(default_factory=list)
    initials: str = ""
    joined: dict[str, tuple[str, str]] = field(default_factory=dict)


def features_of(text: str) -> Features:
    """Read a text once; some microseconds a word."""
    tokens = _phrased(_tokens(text if text.isascii() else unicodedata.normalize("NFKC", text)))
    words = _meanings(tokens)
    found = Features(text)
    found.script = _script(text)
    found.language = _language(words)
    if any(mark in text for mark in _QUOTES):
        quoted = (next(filter(None, match)) for match in _QUOTED.findall(text))
        found.quoted = frozenset(part.strip().casefold() for part in quoted)
    _read_numbers(found, tokens, words)
    _read_words(found, tokens, words)
    _read_question(found, tokens)
    return found


def _tokens(text: str) -> list[Token]:
    tokens: list[Token] = []
    initial = True
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "pause":
            initial = True
            continue
        written = match.group()
        if kind == "word":
            tokens.append(Token(written, _lowered(written), initial))
        elif kind == "date":
            year, month, day = written.split("-")
            name = _MONTHS[int(month) - 1] if 1 <= int(month) <= 12 else month
            tokens += [
                Token(name.capitalize(), name, False),
                Token(day, "", False, in_digits(day)),
                Token(year, "", False, year),
            ]
        elif kind == "suffix":  # the last group of a number
            tokens += _number(match.group("number"), match.group("suffix"), initial)
        else:
            tokens.append(Token(written, written, initial))
        initial = False
    return tokens


def _lowered(written: str) -> str:
    if written.isalpha():
        return "usa" if written == "US" else written.lower()
    return _CLITIC.sub("", written).lower().replace("'", "").replace("’", "")


def _number(digits: str, suffix: str, initial: bool) -> list[Token]:
    low = suffix.lower()
    if low in MAGNITUDES:
        return [Token(digits + suffix, "", initial, in_digits(digits, low))]
    if not low or low in ("st", "nd", "rd", "th") or lexicon().word(low).unit or low == "x":
        return [Token(digits + suffix, low if lexicon().word(low).unit else "", initial, in_digits(digits))]
    return [Token(digits + suffix, (digits + suffix).lower(), initial)]  # such as 3D


def _phrased(tokens: list[Token]) -> list[Token]:
    """With phrases that the lists know as one word, and numbers in words as numbers."""
    known = lexicon().phrases
    lowers = [token.lower for token in tokens]
    result: list[Token] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        taken = 1
        if token.lower in SPOKEN:
            value, words = spoken(lowers, place)
            if words:
                token, taken = Token(token.written, "", token.initial, value), words
        elif token.lower in known:
            rest = next((rest for rest in known[token.lower] if _stands(lowers, place + 1, rest)), ())
            if rest:
                token, taken = token._replace(lower="_".join((token.lower, *rest))), 1 + len(rest)
        result.append(token)
        place += taken
    return result


def _stands(lowers: list[str], place: int, rest: tuple[str, ...]) -> bool:
    return tuple(lowers[place : place + len(rest)]) == rest


def _script(text: str) -> str:
    if text.isascii():
        return "LATIN"
    letters = Counter(unicodedata.name(letter, "").split(" ")[0] for letter in text if letter.isalpha())
    return letters.most_common(1)[0][0] if letters else "LATIN"


def _language(words: list[Word]) -> str:
    """English where nothing speaks against it: another language needs two words, and more than English has."""
    if all("en" in word.languages for word in words if word.languages):
        return "en" if any(word.languages for word in words) else ""
    told: dict[str, int] = {}
    for word in words:
        for language in word.languages:
            told[language] = told.get(language, 0) + 1
    most = max(told.values(), default=0)
    if told.get("en") == most:
        return "en" if most else ""
    return max(told, key=told.__getitem__) if most >= 2 else ""


def _meanings(tokens: list[Token]) -> list[Word]:
    """What is known of each word. Short ones are units after a number and after "in" and "per" only: ML is none."""
    known = lexicon()
    words = [known.word(token.lower) for token in tokens]
    for place, (token, word) in enumerate(zip(tokens, words, strict=True)):
        if word.unit and not token.value and len(token.lower) <= 2 and token.lower.isalpha():
            before = tokens[place - 1] if place else Token("", "", True)
            if not (before.value or (before.lower in ("in", "per") and not token.written.isupper())):
                words[place] = replace(word, unit="")
    return words


def _read_numbers(found: Features, tokens: list[Token], words: list[Word]) -> None:
    for place, token in enumerate(tokens):
        unit = words[place]
        if token.value:
            after = tokens[place + 1].lower if place + 1 < len(tokens) else ""
            value = in_digits(token.value, after) if after in MAGNITUDES else token.value
            if not token.lower:
                unit = _neighbouring_unit(words, place)
            found.numbers.append((value, unit.unit))
        if unit.unit:
            (found.times if unit.of_time else found.units).add(unit.unit)


def _neighbouring_unit(words: list[Word], place: int) -> Word:
    """The word after a number or, for a currency's sign, before it; or the number's own, which names no unit."""
    near = (words[near] for near in (place + 1, place + 2, place - 1) if 0 <= near < len(words))
    return next((word for word in near if word.unit), words[place])


def _read_words(found: Features, tokens: list[Token], words: list[Word]) -> None:
    shouted = _is_shouted(tokens)
    last = ""
    for place, (token, word) in enumerate(zip(tokens, words, strict=True)):
        if token.value:
            found.after[last] = last = token.value
            continue
        if word.poles or word.task or token.lower in _TELLING:
            _read_meaning(found, token, word)
        if word.negates and _negates(found.language, word, tokens, place):
            found.negations += 1
        if token.lower in _ARTICLES:
            continue
        name = _carries(token, word, shouted)
        here = name or word.unit or token.lower
        if name or word.unit:
            found.before[here] = last
        found.after[last] = last = here
        if name:
            _read_matter(found, token, word, name, shouted)
    found.initials = "".join(found.matter[name][0] for name in found.sequence)


def _read_meaning(found: Features, token: Token, word: Word) -> None:
    for axis, end in word.poles:
        found.poles.setdefault(axis, set()).add(end)
    if word.task:
        found.tasks.add(word.task)
    if token.lower in _LIMITS:
        found.limits.add("only")
    hint = _HINTS.get(token.lower)
    if hint:
        found.hints.add(hint)


def _carries(token: Token, word: Word, shouted: bool) -> str:
    """The name of a word of matter; empty for all others. A stop word with a capital, such as Go, is a name."""
    if word.unit or word.negates or token.lower in MAGNITUDES:
        return ""
    if word.stop:
        is_name = len(token.written) > 1 and not word.languages and _is_name(token, shouted)
        return token.lower if is_name else ""
    return word.name


def _read_matter(found: Features, token: Token, word: Word, name: str, shouted: bool) -> None:
    if found.sequence:
        previous = found.sequence[-1]
        found.joined[found.matter[previous] + token.lower] = (previous, name)
    found.matter[name] = token.lower
    found.sequence.append(name)
    if word.listed:
        found.listed.add(name)
    if _is_name(token, shouted):
        found.names.add(name)


def _is_shouted(tokens: list[Token]) -> bool:
    """Whether capitals stand everywhere, as in a title, so that they tell no names."""
    words = [token.written for token in tokens if not token.initial and token.written[0].isalpha()]
    return len(words) >= 4 and sum(word[0].isupper() for word in words) > 0.7 * len(words)


def _is_name(token: Token, shouted: bool) -> bool:
    written = token.written
    if not written.isalpha() and not _IDENTIFYING.isdisjoint(written):
        return True
    if shouted or written.islower():
        return False
    return not token.initial or not written[1:].islower()


def _negates(language: str, word: Word, tokens: list[Token], place: int) -> bool:
    """Not where it is polite ("why don't you"), or only one of two ways ("whether or not")."""
    if (language or "en") not in word.negates:
        return False
    before = tokens[place - 1].lower if place else ""
    after = tokens[place + 1].lower if place + 1 < len(tokens) else ""
    polite = after in ("you", "we") and (before, tokens[place].lower) in _POLITE
    return not (polite or (before == "or" and tokens[place].lower == "not") or after == "only")


def _read_question(found: Features, tokens: list[Token]) -> None:
    for place, token in enumerate(tokens):
        kind = _ASKING.get(token.lower, "")
        if kind:
            after, then = ([token.lower for token in tokens[place + 1 : place + 3]] + ["", ""])[:2]
            if (kind, after, then) == ("why", "dont", "you"):
                return  # a request
            if kind == "how" and after in ("many", "much"):
                kind = f"how {after}"
            if kind == "what" and after in _MAKING:
                kind = "why"
            found.asks = kind
            return
