"""The LLM caching layer: response, embedding and reasoning caches and chat memory, in process or on servers.

This package contains the caches in front of language models, with their stores, indexes and embedders. Tiers, LRU,
vector search and the hash ring belong to ``vectorcache``. Every public name is importable from here. The constructor
of an object whose optional dependency is missing raises ``MissingExtra`` with the extra to install.
"""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {
    "errors": "FingerprintMismatch InvalidSetting MissingExtra Unsupported",
    "scope": "EVERYBODY EVERYTHING Scope Selection",
    "observer": "Observer Outcome",
    "managed": "ManagedCache PartHealth",
    "embedders": (
        "CachedEmbedder Embedder FunctionEmbedder HashingEmbedder OnnxEmbedder OpenAIEmbedder"
        " SentenceTransformerEmbedder StaticEmbedder minilm open_embedder"
    ),
    "kv": "Entry EvictionPolicy KeyValueStore MemoryStore RedisStore SQLiteStore",
    "similarity": (
        "DiskIndex FaissIndex IndexEntry Match MemoryIndex Partition QdrantIndex RedisSearchIndex"
        " RedisVectorSetIndex RouterIndex SimilarityIndex load_snapshot open_index save_snapshot"
    ),
    "response": (
        "Answer Chunk Fixed Guard LabelledPair Lookup Measured Refusal Reply Request ResponseCache ShadowCollector"
        " Threshold cached cached_llm_call load_pairs measure"
    ),
    "reasoning": "ChainOfThought Node ReasoningCache SimilarReasoning Step Thought TreeOfThought as_text rich_tree",
    "chat": "ChatMemory Context Tokenizer Turn byte_tokenizer file_tokenizer tiktoken_tokenizer",
    "manager": "Manager Report",
    "metrics": "Metrics MetricsCollector Price",
    "config": "Configuration Settings load open_caches",
    "blocking": "Sync sync",
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Import a public name on first access, so that unused modules are not imported."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
