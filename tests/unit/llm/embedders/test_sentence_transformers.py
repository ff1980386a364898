"""Tests with a fake model, since the library is large and downloads its models."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import numpy as np
import pytest
from tests.support.llm.embedder_contract import EmbedderContract

from vectorcache.errors import InvalidInput, Unavailable
from vectorcache_llm.embedders import HashingEmbedder, SentenceTransformerEmbedder
from vectorcache_llm.errors import MissingExtra

DIMENSION = 48


class Model:
    """The used subset of ``SentenceTransformer``."""

    def __init__(
        self, name: str = "ready", *, device: str | None = None, max_seq_length: int | None = 12
    ) -> None:
        self.name = name
        self.device = device
        self.max_seq_length = max_seq_length
        self.batches: list[int] = []

    def encode(
        self, sentences: list[str], *, batch_size: int, show_progress_bar: bool, convert_to_numpy: bool
    ) -> np.ndarray:
        assert convert_to_numpy
        assert not show_progress_bar
        self.batches.append(batch_size)
        cut = [" ".join(text.split()[: self.max_seq_length]) for text in sentences]
        return np.stack([HashingEmbedder(DIMENSION)._vector(text) for text in cut])

    def tokenizer(self, texts: list[str], *, truncation: bool) -> dict[str, list[list[int]]]:
        assert not truncation
        return {"input_ids": [[0] * len(text.split()) for text in texts]}


class TestContract(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> SentenceTransformerEmbedder:
        return SentenceTransformerEmbedder(Model(), name="ready")

    @pytest.fixture
    def other_settings(self) -> SentenceTransformerEmbedder:
        return SentenceTransformerEmbedder(Model(max_seq_length=13), name="ready")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = Model
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("minilm", "sentence-transformers/all-MiniLM-L6-v2"),
        ("mpnet", "sentence-transformers/all-mpnet-base-v2"),
        ("distilbert", "sentence-transformers/multi-qa-distilbert-cos-v1"),
        ("somebody/model", "somebody/model"),
    ],
)
@pytest.mark.usefixtures("library")
async def test_models_have_short_names(name: str, whole: str) -> None:
    embedder = SentenceTransformerEmbedder(name, device="cpu", batch_size=7)
    assert embedder.fingerprint == f"sentence-transformers:{whole}:12:{DIMENSION}"
    await embedder.embed(["a"])
    assert (embedder._model.device, embedder._model.batches[-1]) == ("cpu", 7)


async def test_a_model_without_a_limit_truncates_nothing() -> None:
    embedder = SentenceTransformerEmbedder(Model(max_seq_length=None), name="static")
    await embedder.embed(["word " * 1000])
    assert (embedder.max_tokens, embedder.truncated) == (None, 0)


async def test_a_model_that_fails_is_unavailable() -> None:
    model = Model()
    embedder = SentenceTransformerEmbedder(model, name="ready")
    model.max_seq_length = "broken"
    with pytest.raises(Unavailable, match="TypeError") as caught:
        await embedder.embed(["a"])
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_loaded_model_needs_a_name() -> None:
    with pytest.raises(InvalidInput, match="name"):
        SentenceTransformerEmbedder(Model())


def test_the_error_for_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match=r"vectorcache\[sentence-transformers\]"):
        SentenceTransformerEmbedder()
