"""The LLM caching layer: semantic responses, embeddings, reasoning and chat memory, in process or on real servers.

What lives here: caches in front of language models and all that they stand on. What never does: the tiers, the LRU,
vector search and the ring, which are ``vectorcache``'s. Every public name is importable from here; what needs an
optional dependency says which extra to install when it is made.
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
    """Import a public name when it is first asked for: who wants a store needs no embedder."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
