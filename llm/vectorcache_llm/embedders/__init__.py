"""Embedders, which turn texts into unit vectors.

This package contains the interface (``base``), shared code (``texts``, ``local``), an embedder for each kind of model,
and the embedding cache (``cached``). It does not contain uses of the vectors.
"""

from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.embedders.cached import CachedEmbedder
from vectorcache_llm.embedders.function import FunctionEmbedder
from vectorcache_llm.embedders.hashing import HashingEmbedder
from vectorcache_llm.embedders.onnx import OnnxEmbedder, minilm
from vectorcache_llm.embedders.openai import OpenAIEmbedder
from vectorcache_llm.embedders.registry import EMBEDDERS, open_embedder
from vectorcache_llm.embedders.sentence_transformers import SentenceTransformerEmbedder
from vectorcache_llm.embedders.static import StaticEmbedder

__all__ = [
    "EMBEDDERS",
    "CachedEmbedder",
    "Embedder",
    "FunctionEmbedder",
    "HashingEmbedder",
    "OnnxEmbedder",
    "OpenAIEmbedder",
    "SentenceTransformerEmbedder",
    "StaticEmbedder",
    "minilm",
    "open_embedder",
]
