"""Every setting: its name, default, what is allowed, and what it is for."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from vectorcache_llm.metrics import Price

Seconds: TypeAlias = Annotated[float, Meta(gt=0)]
NotNegative: TypeAlias = Annotated[float, Meta(ge=0)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
Prefix: TypeAlias = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,40}$")]
Natural: TypeAlias = Annotated[int, Meta(ge=0)]

IndexName: TypeAlias = Literal["memory", "disk", "redis", "redis-vectorset", "qdrant"]
TierName: TypeAlias = Literal["memory", "disk", "redis", "redis-vectorset", "qdrant", "router"]
StoreName: TypeAlias = Literal["memory", "disk", "redis"]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that belong together."""


class EmbedderSettings(Section, frozen=True):
    """What turns texts into vectors; the same for all caches."""

    name: Annotated[str, Meta(description="static, minilm, openai, sentence-transformers or hashing")] = (
        "static"
    )
    options: Annotated[dict[str, Any], Meta(description="arguments of the embedder, by name")] = {}


class RedisSettings(Section, frozen=True):
    """The Redis of all tiers and stores that are on one."""

    url: Annotated[str, Meta(description="where it is")] = "redis://127.0.0.1:6379/0"
    prefix: Annotated[Prefix, Meta(description="what names in it begin with")] = "vectorcache"
    deadline: Annotated[Seconds, Meta(description="seconds for one call")] = 0.2


class QdrantSettings(Section, frozen=True):
    """The Qdrant of all tiers that are on one."""

    url: Annotated[str, Meta(description="where it is")] = "http://127.0.0.1:6333"
    api_key: Annotated[str, Meta(description="a secret, if it asks for one")] = ""
    prefix: Annotated[Prefix, Meta(description="what its collections' names begin with")] = "vectorcache"
    deadline: Annotated[Seconds, Meta(description="seconds for one call")] = 0.5


class RouterSettings(Section, frozen=True):
    """The VectorCache router of a read-only tier."""

    url: Annotated[str, Meta(description="where it is")] = "http://127.0.0.1:8100"
    collection: Annotated[str, Meta(description="the collection of replies", min_length=1)] = "replies"
    deadline: Annotated[Seconds, Meta(description="seconds for one call")] = 0.5


class LimitSettings(Section, frozen=True):
    """How much one store or index keeps, in memory or on disk."""

    entries: Annotated[Count, Meta(description="entries")] = 100_000
    bytes: Annotated[Count, Meta(description="bytes")] = 1 << 29


class EmbeddingSettings(Section, frozen=True):
    """The cache of embeddings."""

    tiers: Annotated[
        tuple[StoreName, ...],
        Meta(description="stores, the nearest first; none for no such cache, as a local embedder is as fast"),
    ] = ()
    ttl: Annotated[Seconds | None, Meta(description="seconds that a vector lives; none for ever")] = None


class ResponseSettings(Section, frozen=True):
    """The response cache."""

    tiers: Annotated[
        tuple[TierName, ...], Meta(description="indexes, the nearest first; none for no such cache")
    ] = ("disk",)
    semantic: Annotated[bool, Meta(description="whether similar requests are answered at all")] = True
    min_similarity: Annotated[
        Share | None,
        Meta(description="the least cosine similarity; none to measure it for the embedder"),
    ] = None
    ttl: Annotated[Seconds | None, Meta(description="seconds that a reply is fresh; none for ever")] = (
        86_400.0
    )
    ttl_jitter: Annotated[Share, Meta(description="share by which lives are shortened at random")] = 0.1
    stale_while_revalidate: Annotated[
        NotNegative, Meta(description="seconds that a stale reply is served while a new one is made")
    ] = 0.0
    deadline: Annotated[Seconds, Meta(description="seconds that the cache may add to a call")] = 0.25


class ReasoningSettings(Section, frozen=True):
    """The reasoning cache."""

    store: Annotated[StoreName | None, Meta(description="where it is; none for no such cache")] = "disk"
    index: Annotated[IndexName | None, Meta(description="for similar problems; none without")] = "disk"
    ttl: Annotated[Seconds | None, Meta(description="seconds that reasoning lives; none for ever")] = None


class ChatSettings(Section, frozen=True):
    """Chat memory."""

    store: Annotated[StoreName | None, Meta(description="where it is; none for no such memory")] = "disk"
    index: Annotated[IndexName | None, Meta(description="for relevant older turns; none without")] = "disk"
    limit: Annotated[Count, Meta(description="tokens of a context")] = 8_000
    tokenizer: Annotated[
        str, Meta(description="bytes, tiktoken:NAME of an encoding, or a path of a tokenizer.json")
    ] = "bytes"
    summarise_every: Annotated[Count, Meta(description="turns after which a summary is made")] = 20
    keep_recent: Annotated[Natural, Meta(description="turns at the end that no summary has")] = 10
    max_turns: Annotated[Count, Meta(description="recent turns in a context at most")] = 200
    relevant_turns: Annotated[Count, Meta(description="older turns in a context at most")] = 8
    relevant_share: Annotated[Share, Meta(description="of a context's tokens for older turns")] = 0.25
    min_similarity: Annotated[Share, Meta(description="the least similarity of an older turn")] = 0.4
    ttl: Annotated[Seconds | None, Meta(description="seconds that a turn lives; none for ever")] = None


class MetricsSettings(Section, frozen=True):
    """What is counted."""

    tenants: Annotated[Natural, Meta(description='tenants by name; those beyond are "other"')] = 100
    models: Annotated[
        Natural, Meta(description='models without a price by name; those beyond are "other"')
    ] = 100
    hot_keys: Annotated[Count, Meta(description="keys that are followed in each cache")] = 100
    prices: Annotated[
        dict[str, Price], Meta(description="by model: prompt and completion, for a million tokens each")
    ] = {}


class Settings(Section, frozen=True):
    """All settings."""

    data: Annotated[str, Meta(description="folder of files; empty for the platform's")] = ""
    embedder: EmbedderSettings = EmbedderSettings()
    limits: LimitSettings = LimitSettings()
    redis: RedisSettings = RedisSettings()
    qdrant: QdrantSettings = QdrantSettings()
    router: RouterSettings = RouterSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    response: ResponseSettings = ResponseSettings()
    reasoning: ReasoningSettings = ReasoningSettings()
    chat: ChatSettings = ChatSettings()
    metrics: MetricsSettings = MetricsSettings()
