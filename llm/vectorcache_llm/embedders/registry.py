"""Embedders by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from vectorcache.errors import InvalidInput
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.embedders.hashing import HashingEmbedder
from vectorcache_llm.embedders.onnx import OnnxEmbedder, minilm
from vectorcache_llm.embedders.openai import OpenAIEmbedder
from vectorcache_llm.embedders.sentence_transformers import SentenceTransformerEmbedder
from vectorcache_llm.embedders.static import StaticEmbedder

EMBEDDERS: dict[str, Callable[..., Embedder]] = {
    "static": StaticEmbedder,
    "minilm": minilm,
    "onnx": OnnxEmbedder,
    "sentence-transformers": SentenceTransformerEmbedder,
    "openai": OpenAIEmbedder,
    "hashing": HashingEmbedder,
}
"""What makes an embedder of a name, from its settings."""


def open_embedder(name: str, **settings: Any) -> Embedder:
    """Make an embedder of a name in ``EMBEDDERS``, with the arguments of its class.

    Raises:
        InvalidInput: there is no such name, or a setting is unknown, missing or not allowed.
        MissingExtra: what it needs is not installed.
    """
    make = EMBEDDERS.get(name)
    if make is None:
        raise InvalidInput("embedder", name, ", ".join(EMBEDDERS))
    signature = inspect.signature(make)
    try:
        signature.bind(**settings)
    except TypeError as error:
        raise InvalidInput(
            f"settings of embedder {name}", sorted(settings), f"{error}; {signature}"
        ) from error
    return make(**settings)
