from pathlib import Path
from typing import Any, get_args

import pytest

from vectorcache.errors import InvalidInput, NotFound, Unavailable
from vectorcache_llm.config import load, open_caches
from vectorcache_llm.config.build import tokenizer_of
from vectorcache_llm.config.folder import data_folder
from vectorcache_llm.config.parts import _INDEXES, _STORES, Parts
from vectorcache_llm.config.settings import IndexName, StoreName, TierName
from vectorcache_llm.embedders import HashingEmbedder
from vectorcache_llm.metrics import Metrics
from vectorcache_llm.observer import Outcome
from vectorcache_llm.reasoning import ChainOfThought
from vectorcache_llm.response.reply import Reply
from vectorcache_llm.response.request import Request

ASKED = Request("What is the capital of France?")


def settings(folder: Path, **more: Any) -> Any:
    code = {"data": str(folder), "embedder.name": "hashing", "response.min_similarity": 0.5}
    return load(code={**code, **{key.replace("__", "."): value for key, value in more.items()}})


async def test_caches_with_default_settings_persist(tmp_path: Path) -> None:
    for _ in range(2):
        async with await open_caches(settings(tmp_path)) as caches:
            assert list(caches.caches) == ["response", "reasoning", "chat"]
            if not (await caches.response.get(ASKED)).reply:
                await caches.response.put(ASKED, Reply("Paris."))
                await caches.reasoning.put(ChainOfThought(problem="p"))
    async with await open_caches(settings(tmp_path)) as caches:
        found = await caches.response.get(Request("What is the capital city of France?"))
        assert (found.outcome, found.tier) == (Outcome.SEMANTIC, "disk")
        assert await caches.reasoning.get("p") is not None
        assert caches.metrics.as_dict()["caches"]["response"]["hits"] == 1


async def test_disabled_caches_are_not_constructed(tmp_path: Path) -> None:
    nothing = {"response__tiers": [], "reasoning__store": None, "chat__index": None, "chat__store": "memory"}
    async with await open_caches(settings(tmp_path, **nothing)) as caches:
        assert list(caches.caches) == ["chat"]
        with pytest.raises(NotFound):
            _ = caches.response
    assert list(tmp_path.iterdir()) == []


async def test_the_embedding_cache_stands_in_front_of_the_embedder(tmp_path: Path) -> None:
    async with await open_caches(settings(tmp_path, embedding__tiers=["memory", "disk"])) as caches:
        await caches.response.put(ASKED, Reply("Paris."))
        await caches.response.get(Request("What is the capital city of France?"))
        assert (await caches.stats())["embedding"]
        assert [part.ok for part in (await caches.health())["embedding"]] == [True] * 3


async def test_the_threshold_is_measured_once_for_an_embedder(tmp_path: Path) -> None:
    measured = settings(tmp_path, response__min_similarity=None)
    async with await open_caches(measured) as caches:
        first = (await caches.response.stats())["min_similarity"]
    (file,) = tmp_path.glob("threshold-*.json")
    written = file.stat().st_mtime_ns
    async with await open_caches(measured) as caches:
        assert (await caches.response.stats())["min_similarity"] == first
    assert file.stat().st_mtime_ns == written
    file.write_text("{}")
    async with await open_caches(measured) as caches:
        assert (await caches.response.stats())["min_similarity"] == first


async def test_an_unavailable_embedder_disables_similar_hits_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: HashingEmbedder, texts: object) -> Any:
        raise Unavailable("away")

    monkeypatch.setattr(HashingEmbedder, "embed", away)
    async with await open_caches(settings(tmp_path, response__min_similarity=None)) as caches:
        await caches.response.put(ASKED, Reply("Paris."))
        assert (await caches.response.get(ASKED)).outcome is Outcome.EXACT
        assert (await caches.response.stats())["min_similarity"] is None
        assert caches.metrics.as_dict()["caches"]["response"]["failures"]["measure"] == 1
    assert list(tmp_path.glob("threshold-*.json")) == []


async def test_semantic_hits_can_be_disabled(tmp_path: Path) -> None:
    async with await open_caches(settings(tmp_path, response__semantic=False)) as caches:
        await caches.response.put(ASKED, Reply("Paris."))
        assert (await caches.response.get(ASKED)).outcome is Outcome.EXACT
        assert (await caches.response.get(Request("What is the capital city of France?"))).reply is None


async def test_a_failed_construction_closes_the_embedder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    async def close(embedder: HashingEmbedder) -> None:
        closed.append(embedder)

    monkeypatch.setattr(HashingEmbedder, "close", close)
    with pytest.raises(InvalidInput, match=r"tokenizer\.json"):
        await open_caches(settings(tmp_path, chat__tokenizer="nowhere"))
    assert len(closed) == 1


async def test_removals_are_reported_for_the_right_tier(tmp_path: Path) -> None:
    small = settings(tmp_path, limits__entries=1, response__tiers=["disk"])
    async with await open_caches(small) as caches:
        for question in ("What is the capital of France?", "How do I boil an egg?"):
            await caches.response.put(Request(question), Reply("so"))
        tiers = caches.metrics.as_dict()["caches"]["response"]["tiers"]
        assert {name: one["removals"] for name, one in tiers.items()} == {"disk": {"evicted": 1}}


async def test_an_unknown_embedder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="static"):
        await open_caches(settings(tmp_path, embedder__name="word2vec"))
    with pytest.raises(InvalidInput, match="dimensoin"):
        await open_caches(settings(tmp_path, embedder__options={"dimensoin": 5}))


def test_every_store_and_index_is_constructed_by_name(tmp_path: Path) -> None:
    assert set(_STORES) == set(get_args(StoreName))
    assert set(_INDEXES) == set(get_args(TierName)) == {*get_args(IndexName), "router"}
    parts = Parts(settings(tmp_path).settings, tmp_path, HashingEmbedder(), Metrics(), lambda: 0.0)
    for name in _STORES:
        parts.store(name, "chat")
    for name in _INDEXES:
        index = parts.index(name, "chat")
        assert (index.fingerprint, index.dimension) == (parts.embedder.fingerprint, parts.embedder.dimension)


@pytest.mark.parametrize(
    ("platform", "environ", "folder"),
    [
        ("linux", {}, "home/.local/share/vectorcache"),
        ("linux", {"XDG_DATA_HOME": "/xdg"}, "/xdg/vectorcache"),
        ("darwin", {}, "home/Library/Application Support/vectorcache"),
        ("win32", {}, "home/AppData/Local/vectorcache"),
    ],
)
def test_the_default_data_folder_depends_on_the_platform(
    platform: str, environ: dict[str, str], folder: str
) -> None:
    assert data_folder("", environ, platform=platform, home=Path("home")) == Path(folder)
    assert data_folder("given", environ, platform=platform) == Path("given")


def test_tokenizers_by_name(tmp_path: Path) -> None:
    assert tokenizer_of("bytes").name == "bytes"
    for name in ("tiktoken:none", str(tmp_path / "tokenizer.json")):
        with pytest.raises(InvalidInput):
            tokenizer_of(name)
