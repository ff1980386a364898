"""What the guard knows of words: the lists in ``words``, read once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files

Pole = tuple[int, int]
"""An axis, and which of its ends."""

LONGEST_WORD = 64
"""Characters; longer ones are none, and are not remembered."""
_ENDINGS = ("ations", "ation", "ings", "ing", "edly", "ied", "ies", "ed", "ly", "es", "s")


@dataclass(slots=True)
class Word:
    """What is known of one word.

    Attributes:
        name: that of all its synonyms, or its stem.
        listed: it is in a list, so that it is no slip of another word.
        stop: it carries no matter of its own.
        antonyms: ends of axes that it stands at.
        unit: the unit that it names, or empty; ``of_time``: it is one of time.
        task: what it asks the model to do, or empty.
        languages: those that it tells; ``negates``: those that it negates in.
    """

    name: str
    listed: bool = True
    stop: bool = False
    antonyms: tuple[Pole, ...] = ()
    unit: str = ""
    of_time: bool = False
    task: str = ""
    languages: tuple[str, ...] = ()
    negates: tuple[str, ...] = ()


@dataclass(slots=True)
class Lexicon:
    """Words by how they are written, in lower case; phrases by their first word, the longest first."""

    words: dict[str, Word] = field(default_factory=dict)
    phrases: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)

    def word(self, written: str) -> Word:
        """What is known of a word in lower case; of an unknown one its stem."""
        known = self.words.get(written)
        if known is None:
            return _unlisted(written) if len(written) <= LONGEST_WORD else Word(written, listed=False)
        return known


def stem_of(word: str) -> str:
    """A word without its ending: crude, and the same for most forms of most words."""
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
    """The only one."""
    made = Lexicon()
    _read_synonyms(made)
    for axis, line in enumerate(_lines("antonyms")):
        for end, words in enumerate(line.split("|")):
            for written in words.split():
                known = _known(made, written)
                known.antonyms = (*known.antonyms, (axis, end))
    for line in _lines("units"):
        unit, *others = line.removesuffix("*").split()
        for written in (unit, *others):
            known = _known(made, written)
            known.unit, known.of_time = unit, line.endswith("*")
    for line in _lines("tasks"):
        task, _, words = line.partition(":")
        for written in words.split():
            _known(made, written).task = task
    for line in _lines("stop"):
        for written in line.split():
            _known(made, written).stop = True
    _read_languages(made)
    _read_forms(made)
    _index(made)
    return made


@lru_cache(maxsize=1 << 15)  # prompts of one application share most of their words
def _unlisted(written: str) -> Word:
    stem = stem_of(written)
    known = lexicon().words.get(stem)
    # The forms of units are all listed: France is no franc.
    return Word(stem, listed=False) if known is None or known.unit else known


def _read_synonyms(made: Lexicon) -> None:
    for line in _lines("synonyms"):
        name, *others = line.split()
        for written in (name, *others):
            made.words[written] = Word(stem_of(name))


def _read_forms(made: Lexicon) -> None:
    for line in _lines("forms"):
        word, *forms = line.split()
        known = _known(made, word)
        for form in forms:
            made.words.setdefault(form, known)


def _read_languages(made: Lexicon) -> None:
    for line in _lines("languages"):
        telling, _, negating = line.partition("|")
        language, *words = telling.split()
        for written in words:
            known = _known(made, written)
            known.languages = (*known.languages, language)
        for written in negating.split():
            known = _known(made, written)
            known.languages = (*known.languages, language)
            known.negates = (*known.negates, language)


def _index(made: Lexicon) -> None:
    for written in list(made.words):
        first, *rest = written.split("_")
        if rest:
            made.phrases.setdefault(first, []).append(tuple(rest))
        elif not (made.words[written].stop or made.words[written].languages or made.words[written].unit):
            made.words.setdefault(stem_of(written), made.words[written])
    for phrases in made.phrases.values():
        phrases.sort(key=len, reverse=True)


def _known(made: Lexicon, written: str) -> Word:
    """The word of a list, apart from its synonyms: only its name is theirs."""
    return made.words.setdefault(written, Word(stem_of(written)))


def _lines(name: str) -> Iterator[str]:
    text = files(__package__).joinpath("words", f"{name}.txt").read_text("utf-8")
    return (line for line in text.splitlines() if line and not line.startswith("#"))
