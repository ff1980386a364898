from __future__ import annotations

import pytest

from vectorcache.errors import InvalidInput
from vectorcache_llm.embedders import (
    EMBEDDERS,
    HashingEmbedder,
    OpenAIEmbedder,
    StaticEmbedder,
    open_embedder,
)


def test_an_embedder_is_constructed_by_name_with_settings() -> None:
    assert isinstance(open_embedder("hashing"), HashingEmbedder)
    assert open_embedder("hashing", dimension=16).dimension == 16
    assert isinstance(open_embedder("static", dimension=64), StaticEmbedder)
    openai = open_embedder("openai", base_url="http://127.0.0.1/v1", model="m", dimension=3, api_key="k")
    assert isinstance(openai, OpenAIEmbedder)


def test_the_error_for_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="static, minilm, onnx, sentence-transformers, openai, hashing"):
        open_embedder("word2vec")
    assert len(EMBEDDERS) == 6


@pytest.mark.parametrize(
    ("settings", "reason"), [({"dimensions": 3}, "dimensions"), ({"dimension": 0}, "dimension: 0")]
)
def test_unknown_and_invalid_settings_are_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        open_embedder("hashing", **settings)


def test_missing_settings_are_named_and_values_are_not() -> None:
    with pytest.raises(InvalidInput, match="'model'") as caught:
        open_embedder("openai", base_url="http://127.0.0.1/v1", dimension=3, api_key="secret")
    assert "secret" not in str(caught.value)
