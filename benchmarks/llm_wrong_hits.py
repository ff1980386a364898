"""Wrong hits of the response cache, GPTCache and RedisVL, with their logic and defaults, on held-out labelled pairs.

For each pair, the first question is stored in an empty cache, and the second one is looked up. Our cache uses the
static embedder, the guard, and the threshold that was measured on the tuning half. The default models of the peers are
downloads (an ALBERT for GPTCache, and ``redis/langcache-embed-v1`` for RedisVL). Here both run with MiniLM as ONNX, and
so does a second row of our cache. Their thresholds are their defaults: 0.8 for GPTCache's ``SearchDistanceEvaluation``
is a cosine of 0.6 (squared Euclidean distance, at most 4), and a distance of 0.1 for RedisVL is a cosine of 0.9.

Needs ``gptcache``, ``redisvl`` and ``sqlalchemy`` besides the extras ``bench`` and ``dev``.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.support import FOLDER, arguments, at_least, report
from tests.support.llm.redis_server import redis_server

from vectorcache_llm.embedders import Embedder, StaticEmbedder
from vectorcache_llm.embedders.onnx import OnnxEmbedder, minilm
from vectorcache_llm.response import (
    Fixed,
    Guard,
    LabelledPair,
    Measured,
    Reply,
    Request,
    ResponseCache,
    load_pairs,
    measure,
)
from vectorcache_llm.response.threshold import interval, similarities_of
from vectorcache_llm.scope import Scope
from vectorcache_llm.similarity import MemoryIndex

Served = list[bool]
"""Whether the second question of each pair got the reply of the first one."""


@dataclass(frozen=True)
class Row:
    """The results of one cache."""

    name: str
    served: int
    wrong: int
    precision: float
    lower: float
    recall: float
    wrong_by_kind: dict[str, int]

    @classmethod
    def of(cls, name: str, pairs: Sequence[LabelledPair], served: Served) -> Row:
        hits = [pair for pair, hit in zip(pairs, served, strict=True) if hit]
        right = sum(pair.same for pair in hits)
        lower, _ = interval(right, len(hits), 0.95)
        kinds = Counter(pair.kind for pair in hits if not pair.same)
        recall = right / sum(pair.same for pair in pairs)
        return cls(name, len(hits), len(hits) - right, right / max(1, len(hits)), lower, recall, dict(kinds))


async def ours(
    pairs: Sequence[LabelledPair], embedder: Embedder, threshold: Measured | Fixed, guard: Guard
) -> Served:
    index = MemoryIndex(embedder.fingerprint, embedder.dimension)
    served = []
    async with ResponseCache(embedder, [index], threshold=threshold, guard=guard) as cache:
        for pair in pairs:
            scope = Scope("pairs", pair.id)
            await cache.put(Request(pair.a), Reply("first"), scope)
            served.append((await cache.get(Request(pair.b), scope)).reply is not None)
    return served


def gptcache(pairs: Sequence[LabelledPair], embed: Callable[[str], list[float]]) -> Served:
    """Run ``init_similar_cache`` with its defaults: SQLite, faiss, ``SearchDistanceEvaluation``, threshold 0.8."""
    from gptcache import Cache
    from gptcache.adapter.api import get, init_similar_cache, put
    from gptcache.embedding.base import BaseEmbedding

    class MiniLM(BaseEmbedding):
        dimension = 384

        def to_embeddings(self, data: str, **_: object) -> np.ndarray:
            return np.array(embed(data), dtype=np.float32)

    folder = tempfile.mkdtemp()
    atexit.register(
        shutil.rmtree, folder
    )  # runs after GPTCache's handler, which writes to the folder at exit
    served = []
    for number, pair in enumerate(pairs):
        cache = Cache()
        init_similar_cache(str(Path(folder) / str(number)), cache, embedding=MiniLM())
        put(pair.a, "first", cache_obj=cache)
        served.append(get(pair.b, cache_obj=cache) is not None)
    return served


def redisvl(pairs: Sequence[LabelledPair], embed: Callable[[str], list[float]], url: str) -> Served:
    """Run ``SemanticCache`` with its defaults: distance threshold 0.1."""
    from redisvl.extensions.cache.llm import SemanticCache
    from redisvl.utils.vectorize import CustomVectorizer

    cache = SemanticCache(redis_url=url, vectorizer=CustomVectorizer(embed=embed))
    served = []
    for pair in pairs:
        cache.store(pair.a, "first")
        served.append(bool(cache.check(pair.b)))
        cache.clear()
    return served


def synchronous(embedder: OnnxEmbedder) -> Callable[[str], list[float]]:
    """Return a synchronous embedding function, as the peers need it. It embeds each text once."""
    known: dict[str, list[float]] = {}

    def embed(text: str) -> list[float]:
        if text not in known:
            known[text] = asyncio.run(embedder.embed([text]))[0].tolist()
        return known[text]

    return embed


async def curve(
    pairs: Sequence[LabelledPair], embedder: Embedder, guard: Guard
) -> list[tuple[float, float, float]]:
    """Return every threshold, with the precision and recall of our cache."""
    similarities = await similarities_of(pairs, embedder)
    passed = np.array([guard.refuses(pair.a, pair.b) is None for pair in pairs])
    same = np.array([pair.same for pair in pairs])
    rows = []
    for step in range(20, 100, 2):
        served = passed & (similarities >= step / 100)
        if served.any():
            rows.append((step / 100, float(same[served].mean()), float((served & same).sum() / same.sum())))
    return rows


async def measured(embedder: Embedder, pairs: Sequence[LabelledPair]) -> tuple[Measured, Served]:
    threshold = await measure(load_pairs(split="tuning"), embedder, Guard())
    return threshold, await ours(pairs, embedder, threshold, Guard())


def main() -> None:
    arguments(__doc__ or "")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    pairs = load_pairs(split="held_out")
    static, transformer = StaticEmbedder(), minilm()
    embed = synchronous(transformer)
    by_static, served_static = asyncio.run(measured(static, pairs))
    by_transformer, served_transformer = asyncio.run(measured(transformer, pairs))
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as server:
        redisvl_served = redisvl(pairs, embed, server.url)
    rows = [
        Row.of("ours, static embedder", pairs, served_static),
        Row.of("ours, MiniLM", pairs, served_transformer),
        Row.of("GPTCache, MiniLM", pairs, gptcache(pairs, embed)),
        Row.of("RedisVL, MiniLM", pairs, redisvl_served),
        Row.of(
            "threshold without a guard, static embedder",
            pairs,
            asyncio.run(ours(pairs, static, by_static, Guard(()))),
        ),
    ]
    figures: dict[str, object] = {
        "pairs held out": len(pairs),
        "of them may share a reply": sum(pair.same for pair in pairs),
        "threshold, static embedder": by_static.min_similarity,
        "threshold, MiniLM": by_transformer.min_similarity,
        "tuning: precision, lower bound, recall": (
            f"{by_static.precision:.3f}, {by_static.lower:.3f}, {by_static.recall:.3f}"
        ),
    }
    for row in rows:
        figures[row.name] = (
            f"precision {row.precision:.3f} (at least {row.lower:.3f}), recall {row.recall:.3f},"
            f" {row.wrong} wrong of {row.served} {row.wrong_by_kind or ''}"
        )
    best_peer = max((row.recall for row in rows[2:4] if row.precision >= 0.9), default=0.0)
    report(
        "llm_wrong_hits",
        figures,
        [
            at_least("precision of our cache", rows[0].precision, 0.95),
            at_least("recall; bound: best peer with a precision of 0.90", rows[0].recall, best_peer + 1e-9),
        ],
    )
    plot(rows, asyncio.run(curve(pairs, static, Guard())))


def plot(rows: Sequence[Row], ours_by_threshold: Sequence[tuple[float, float, float]]) -> None:
    """Plot precision over recall. The line is our cache at every threshold."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4.5), layout="constrained")
    axes.plot(
        [row[2] for row in ours_by_threshold], [row[1] for row in ours_by_threshold], color="tab:blue", lw=1
    )
    for row, marker in zip(rows, "osD^v", strict=True):
        axes.plot(row.recall, row.precision, marker, label=row.name, ms=8)
    axes.axhline(0.95, color="grey", lw=0.8, ls="--")
    axes.set(xlabel="recall", ylabel="precision of what is served", xlim=(0, 1), ylim=(0, 1.03))
    axes.legend(loc="lower left", fontsize=8)
    figure.savefig(FOLDER / "llm_wrong_hits.png", dpi=120)


if __name__ == "__main__":
    main()
