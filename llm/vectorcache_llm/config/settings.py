"""Every setting with its name, default, constraints and description."""

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
    """A group of related settings."""


class EmbedderSettings(Section, frozen=True):
    """The embedder, which all caches share."""

    name: Annotated[str, Meta(description="static, minilm, openai, sentence-transformers or hashing")] = (
        "static"
    )
    options: Annotated[
        dict[str, Any], Meta(description="constructor arguments of the embedder, by name")
    ] = {}


class RedisSettings(Section, frozen=True):
    """The Redis server that all Redis tiers and stores use."""

    url: Annotated[str, Meta(description="URL of the Redis server")] = "redis://127.0.0.1:6379/0"
    prefix: Annotated[Prefix, Meta(description="prefix of all key names")] = "vectorcache"
    deadline: Annotated[Seconds, Meta(description="timeout of one call, in seconds")] = 0.2


class QdrantSettings(Section, frozen=True):
    """The Qdrant server that all Qdrant tiers use."""

    url: Annotated[str, Meta(description="URL of the Qdrant server")] = "http://127.0.0.1:6333"
    api_key: Annotated[str, Meta(description="API key, if the server requires one")] = ""
    prefix: Annotated[Prefix, Meta(description="prefix of all collection names")] = "vectorcache"
    deadline: Annotated[Seconds, Meta(description="timeout of one call, in seconds")] = 0.5


class RouterSettings(Section, frozen=True):
    """The VectorCache router of a read-only tier."""

    url: Annotated[str, Meta(description="URL of the router")] = "http://127.0.0.1:8100"
    collection: Annotated[str, Meta(description="collection that holds the replies", min_length=1)] = (
        "replies"
    )
    deadline: Annotated[Seconds, Meta(description="timeout of one call, in seconds")] = 0.5


class LimitSettings(Section, frozen=True):
    """Limits of one store or index, in memory or on disk."""

    entries: Annotated[Count, Meta(description="maximum number of entries in one store or index")] = 100_000
    bytes: Annotated[Count, Meta(description="maximum size of one store or index, in bytes")] = 1 << 29


class EmbeddingSettings(Section, frozen=True):
    """The embedding cache."""

    tiers: Annotated[
        tuple[StoreName, ...],
        Meta(
            description="stores, fastest first; empty to disable the cache, which a local embedder does not need"
        ),
    ] = ()
    ttl: Annotated[
        Seconds | None, Meta(description="lifetime of a vector, in seconds; none for no expiry")
    ] = None


class ResponseSettings(Section, frozen=True):
    """The response cache."""

    tiers: Annotated[
        tuple[TierName, ...], Meta(description="indexes, fastest first; empty to disable the response cache")
    ] = ("disk",)
    semantic: Annotated[
        bool, Meta(description="whether a similar request may be answered from the cache")
    ] = True
    min_similarity: Annotated[
        Share | None,
        Meta(description="minimum cosine similarity; none to measure it for the embedder"),
    ] = None
    ttl: Annotated[
        Seconds | None, Meta(description="seconds for which a reply is fresh; none for no expiry")
    ] = 86_400.0
    ttl_jitter: Annotated[
        Share, Meta(description="maximum share by which a lifetime is randomly shortened")
    ] = 0.1
    stale_while_revalidate: Annotated[
        NotNegative, Meta(description="seconds for which a stale reply is served while it is refreshed")
    ] = 0.0
    deadline: Annotated[Seconds, Meta(description="maximum time the cache adds to a call, in seconds")] = 0.25


class ReasoningSettings(Section, frozen=True):
    """The reasoning cache."""

    store: Annotated[StoreName | None, Meta(description="store; none to disable the reasoning cache")] = (
        "disk"
    )
    index: Annotated[
        IndexName | None, Meta(description="index for similar problems; none to disable the search")
    ] = "disk"
    ttl: Annotated[
        Seconds | None, Meta(description="lifetime of an entry, in seconds; none for no expiry")
    ] = None


class ChatSettings(Section, frozen=True):
    """Chat memory."""

    store: Annotated[StoreName | None, Meta(description="store; none to disable chat memory")] = "disk"
    index: Annotated[
        IndexName | None, Meta(description="index for relevant older turns; none to disable the search")
    ] = "disk"
    limit: Annotated[Count, Meta(description="maximum number of tokens in a context")] = 8_000
    tokenizer: Annotated[
        str, Meta(description="bytes, tiktoken:ENCODING, or the path of a tokenizer.json")
    ] = "bytes"
    summarise_every: Annotated[Count, Meta(description="number of turns after which a summary is made")] = 20
    keep_recent: Annotated[
        Natural, Meta(description="number of most recent turns left out of the summary")
    ] = 10
    max_turns: Annotated[Count, Meta(description="maximum number of recent turns in a context")] = 200
    relevant_turns: Annotated[
        Count, Meta(description="maximum number of relevant older turns in a context")
    ] = 8
    relevant_share: Annotated[
        Share, Meta(description="maximum share of a context's tokens used by older turns")
    ] = 0.25
    min_similarity: Annotated[Share, Meta(description="minimum similarity of an older turn")] = 0.4
    ttl: Annotated[Seconds | None, Meta(description="lifetime of a turn, in seconds; none for no expiry")] = (
        None
    )


class MetricsSettings(Section, frozen=True):
    """Metrics and their cardinality limits."""

    tenants: Annotated[
        Natural, Meta(description='number of tenants counted by name; the rest are "other"')
    ] = 100
    models: Annotated[
        Natural, Meta(description='number of models without a price counted by name; the rest are "other"')
    ] = 100
    hot_keys: Annotated[Count, Meta(description="number of keys tracked in each cache")] = 100
    prices: Annotated[
        dict[str, Price], Meta(description="prices by model: prompt and completion, each per million tokens")
    ] = {}


class Settings(Section, frozen=True):
    """All settings."""

    data: Annotated[str, Meta(description="data folder; empty for the platform's default")] = ""
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
