"""The guard's lexicon, read once from the word lists in ``words``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files

Sense = tuple[int, int]
"""A group of antonyms (a line of ``antonyms.txt``), and one of its senses."""

LONGEST_WORD = 64
"""Maximum length of a word in characters. Longer ones are not looked up, stemmed or cached."""
_ENDINGS = ("ations", "ation", "ings", "ing", "edly", "ied", "ies", "ed", "ly", "es", "s")


@dataclass(slots=True)
class Word:
    """The lexicon's entry for one word.

    Attributes:
        name: the name shared by all its synonyms, or its stem.
        listed: whether it is in a list, and therefore not a typo of another listed word.
        stop: whether it is a stop word, which carries no content.
        antonyms: the senses that it has in groups of antonyms.
        unit: the unit that it names, or empty; ``of_time``: whether that is a unit of time.
        task: the task that it gives to the model, or empty.
        languages: the languages that it indicates; ``negates``: the languages in which it is a negation.
    """

    name: str
    listed: bool = True
    stop: bool = False
    antonyms: tuple[Sense, ...] = ()
    unit: str = ""
    of_time: bool = False
    task: str = ""
    languages: tuple[str, ...] = ()
    negates: tuple[str, ...] = ()


@dataclass(slots=True)
class Lexicon:
    """Words by their spelling in lower case, and phrases by their first word, the longest first."""

    words: dict[str, Word] = field(default_factory=dict)
    phrases: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)

    def word(self, written: str) -> Word:
        """Return the entry of a word in lower case. For an unlisted word, its name is its stem."""
        known = self.words.get(written)
        if known is None:
            return _unlisted(written) if len(written) <= LONGEST_WORD else Word(written, listed=False)
        return known


def stem_of(word: str) -> str:
    """Return a word without its ending. The rules are crude, but map most forms of most words to one stem."""
    if len(word) <= 3 or not word.isalpha():
        return word
    if not word.endswith("ss"):
        ending = next((end for end in _ENDINGS if word.endswith(end) and len(word) - len(end) >= 3), "")
        word = word.removesuffix(ending) + ("y" if ending in ("ies", "ied") else "")
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiousl":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word


@cache
def lexicon() -> Lexicon:
    """Return the lexicon, which all guards share."""
    made = Lexicon()
    _read_synonyms(made)
    for group, line in enumerate(_lines("antonyms")):
        for sense, words in enumerate(line.split("|")):
            for written in words.split():
                word = _entry(made, written)
                word.antonyms = (*word.antonyms, (group, sense))
    for line in _lines("units"):
        unit, *others = line.removesuffix("*").split()
        for written in (unit, *others):
            word = _entry(made, written)
            word.unit, word.of_time = unit, line.endswith("*")
    for line in _lines("tasks"):
        task, _, words = line.partition(":")
        for written in words.split():
            _entry(made, written).task = task
    for line in _lines("stop"):
        for written in line.split():
            _entry(made, written).stop = True
    _read_languages(made)
    _read_forms(made)
    _index(made)
    return made


@lru_cache(maxsize=1 << 15)  # prompts of one application share most of their words
def _unlisted(written: str) -> Word:
    stem = stem_of(written)
    known = lexicon().words.get(stem)
    # All forms of units are listed, so a stem that is a unit is a coincidence: "France" is not a form of "franc".
    return Word(stem, listed=False) if known is None or known.unit else known


def _read_synonyms(made: Lexicon) -> None:
    for line in _lines("synonyms"):
        name, *others = line.split()
        for written in (name, *others):
            made.words[written] = Word(stem_of(name))


def _read_forms(made: Lexicon) -> None:
    for line in _lines("forms"):
        word, *forms = line.split()
        entry = _entry(made, word)
        for form in forms:
            made.words.setdefault(form, entry)


def _read_languages(made: Lexicon) -> None:
    for line in _lines("languages"):
        telling, _, negating = line.partition("|")
        language, *words = telling.split()
        for written in words:
            word = _entry(made, written)
            word.languages = (*word.languages, language)
        for written in negating.split():
            word = _entry(made, written)
            word.languages = (*word.languages, language)
            word.negates = (*word.negates, language)


def _index(made: Lexicon) -> None:
    for written in list(made.words):
        first, *rest = written.split("_")
        if rest:
            made.phrases.setdefault(first, []).append(tuple(rest))
        elif not (made.words[written].stop or made.words[written].languages or made.words[written].unit):
            made.words.setdefault(stem_of(written), made.words[written])
    for phrases in made.phrases.values():
        phrases.sort(key=len, reverse=True)


def _entry(made: Lexicon, written: str) -> Word:
    """Return the entry of a listed word, or a new one. Synonyms share a name, but each has its own entry."""
    return made.words.setdefault(written, Word(stem_of(written)))


def _lines(name: str) -> Iterator[str]:
    text = files(__package__).joinpath("words", f"{name}.txt").read_text("utf-8")
    return (line for line in text.splitlines() if line and not line.startswith("#"))
