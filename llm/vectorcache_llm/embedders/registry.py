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
"""Constructor of each embedder, by name."""


def open_embedder(name: str, **settings: Any) -> Embedder:
    """Construct an embedder by its name in ``EMBEDDERS``, with the arguments of its class.

    Raises:
        InvalidInput: the name is unknown, or a setting is unknown, missing or not allowed.
        MissingExtra: an optional dependency of the embedder is not installed.
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
