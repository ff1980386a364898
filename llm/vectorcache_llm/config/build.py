"""Construction of the caches from a configuration."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import vectorcache
from vectorcache.errors import CorruptData, Unavailable
from vectorcache_llm.chat import (
    ChatMemory,
    Summarise,
    Tokenizer,
    byte_tokenizer,
    file_tokenizer,
    tiktoken_tokenizer,
)
from vectorcache_llm.config.folder import data_folder
from vectorcache_llm.config.layers import Configuration
from vectorcache_llm.config.parts import Parts
from vectorcache_llm.config.settings import Settings
from vectorcache_llm.embedders import CachedEmbedder, Embedder, open_embedder
from vectorcache_llm.managed import ManagedCache
from vectorcache_llm.manager import Manager
from vectorcache_llm.metrics import Metrics
from vectorcache_llm.observer import Observer
from vectorcache_llm.reasoning import ReasoningCache
from vectorcache_llm.response.cache import ResponseCache
from vectorcache_llm.response.guard import Guard
from vectorcache_llm.response.pairs import load_pairs
from vectorcache_llm.response.threshold import Fixed, Measured, Threshold, measure


async def open_caches(
    configuration: Configuration,
    environ: Mapping[str, str] | None = None,
    *,
    summarise: Summarise | None = None,
    clock: Callable[[], float] = time.time,
) -> Manager:
    """Construct and open the caches of a configuration. The caller closes the manager.

    Args:
        configuration: the result of ``load``.
        environ: the environment, from which the platform's data folder is derived.
        summarise: function that summarises chat turns; None for no summaries.
        clock: function that returns seconds since the epoch.

    Raises:
        InvalidInput: a component rejects its setting, such as an option of the embedder.
        MissingExtra: an optional dependency is not installed.
    """
    settings = configuration.settings
    folder = data_folder(settings.data, environ or {})
    metrics = metrics_of(settings)
    embedder = await asyncio.to_thread(open_embedder, settings.embedder.name, **settings.embedder.options)
    async with AsyncExitStack() as stack:  # closes the embedder if a later step fails
        stack.push_async_callback(embedder.close)
        parts = Parts(settings, folder, embedder, metrics, clock)
        manager = await _manager(settings, parts, summarise)
        await manager.open()
        stack.pop_all()
    return manager


async def _manager(settings: Settings, parts: Parts, summarise: Summarise | None) -> Manager:
    embedder, metrics, clock = parts.embedder, parts.metrics, parts.clock
    caches: list[ManagedCache] = []
    if settings.embedding.tiers:
        stores = [parts.store(tier, "embedding") for tier in settings.embedding.tiers]
        cached = CachedEmbedder(embedder, stores, ttl=settings.embedding.ttl, observer=metrics, clock=clock)
        caches.append(cached)
        embedder = cached
    if settings.response.tiers:
        threshold = await _threshold(settings, embedder, parts.folder, metrics)
        caches.append(_response(settings, parts, embedder, threshold))
    if settings.reasoning.store:
        caches.append(_reasoning(settings, parts, embedder))
    if settings.chat.store:
        caches.append(_chat(settings, parts, embedder, summarise))
    return Manager(caches, embedder=embedder, metrics=metrics, clock=clock)


def _response(settings: Settings, parts: Parts, embedder: Embedder, threshold: Threshold) -> ResponseCache:
    of = settings.response
    return ResponseCache(
        embedder,
        [parts.index(tier, "response") for tier in of.tiers],
        threshold=threshold,
        guard=Guard(),
        ttl=of.ttl,
        ttl_jitter=of.ttl_jitter,
        stale_while_revalidate=of.stale_while_revalidate,
        deadline=of.deadline,
        observer=parts.metrics,
        clock=parts.clock,
    )


def _reasoning(settings: Settings, parts: Parts, embedder: Embedder) -> ReasoningCache:
    of = settings.reasoning
    assert of.store
    return ReasoningCache(
        parts.store(of.store, "reasoning"),
        embedder if of.index else None,
        parts.index(of.index, "reasoning") if of.index else None,
        guard=Guard(),
        ttl=of.ttl,
        observer=parts.metrics,
        clock=parts.clock,
    )


def _chat(settings: Settings, parts: Parts, embedder: Embedder, summarise: Summarise | None) -> ChatMemory:
    of = settings.chat
    assert of.store
    return ChatMemory(
        parts.store(of.store, "chat"),
        tokenizer_of(of.tokenizer),
        of.limit,
        embedder if of.index else None,
        parts.index(of.index, "chat") if of.index else None,
        summarise=summarise,
        summarise_every=of.summarise_every,
        keep_recent=of.keep_recent,
        max_turns=of.max_turns,
        relevant_turns=of.relevant_turns,
        relevant_share=of.relevant_share,
        min_similarity=of.min_similarity,
        ttl=of.ttl,
        observer=parts.metrics,
        clock=parts.clock,
    )


def metrics_of(settings: Settings) -> Metrics:
    """Return the metrics with the limits and prices of the settings."""
    of = settings.metrics
    return Metrics(of.prices, tenants=of.tenants, models=of.models, hot_keys=of.hot_keys)


def tokenizer_of(name: str) -> Tokenizer:
    """Return the tokenizer of a setting: "bytes", "tiktoken:ENCODING", or a path.

    Raises:
        InvalidInput: no tokenizer has this name, or the file does not exist.
        MissingExtra: an optional dependency is not installed.
        Unavailable: the file of the encoding could not be downloaded.
    """
    if name == "bytes":
        return byte_tokenizer()
    kind, _, encoding = name.partition(":")
    return tiktoken_tokenizer(encoding) if kind == "tiktoken" else file_tokenizer(name)


async def _threshold(settings: Settings, embedder: Embedder, folder: Path, observer: Observer) -> Threshold:
    """Return the configured threshold, or measure it on the bundled labelled pairs.

    The result is saved for each embedder, because embedding the pairs may cost money.
    """
    if not settings.response.semantic:
        return Fixed(None)
    if settings.response.min_similarity is not None:
        return Fixed(settings.response.min_similarity)
    # The guard and the pairs change with the version, so a saved threshold is valid for one version only.
    version = f"{embedder.fingerprint} {vectorcache.__version__}"
    digest = hashlib.sha256(version.encode()).hexdigest()[:16]
    path = folder / f"threshold-{digest}.json"
    try:
        return await asyncio.to_thread(Measured.load, path)
    except (OSError, CorruptData):
        pairs = await asyncio.to_thread(load_pairs, split="tuning")
    try:
        measured = await measure(pairs, embedder, Guard())
        await asyncio.to_thread(_save, measured, path)
    except Unavailable as error:  # exact hits need no embedder, so this run goes on without semantic hits
        observer.failed("response", "embedder", "measure", error)
        return Fixed(None)
    return measured


def _save(measured: Measured, path: Path) -> None:
    """Save the threshold. If the folder is not writable, the next start measures again."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        measured.save(path)
