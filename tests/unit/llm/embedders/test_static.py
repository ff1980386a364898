from __future__ import annotations

import asyncio
import logging

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.llm.embedder_contract import EmbedderContract, fingerprint_elsewhere

from vectorcache.errors import InvalidInput
from vectorcache_llm.embedders import StaticEmbedder
from vectorcache_llm.embedders.static import BATCH, BLOCK, INLINE_CHARACTERS


@pytest.fixture(scope="module")
def static() -> StaticEmbedder:
    return StaticEmbedder()


@pytest.fixture(scope="module")
def small() -> StaticEmbedder:
    return StaticEmbedder(64)


class TestContract(EmbedderContract):
    @pytest.fixture
    def embedder(self, static: StaticEmbedder) -> StaticEmbedder:
        return static

    @pytest.fixture
    def other_settings(self, small: StaticEmbedder) -> StaticEmbedder:
        return small


def test_the_fingerprint_is_the_same_in_every_process(small: StaticEmbedder) -> None:
    assert fingerprint_elsewhere("StaticEmbedder(64)") == small.fingerprint


async def test_it_is_wordllama(static: StaticEmbedder) -> None:
    """Compares with the inference of the package, which is imported here because it configures the root logger."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    try:
        from pathlib import Path

        import wordllama

        reference = wordllama.WordLlama.load(disable_download=True, cache_dir=Path(wordllama.__file__).parent)
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]
    texts = ["How do I reset my password?", "x", "Grüße aus Köln 🎉", "word " * 100]
    expected = reference.embed(texts, norm=True)
    assert np.abs(await static.embed(texts) - expected).max() < 1e-5


async def test_the_first_components_are_a_usable_vector(
    static: StaticEmbedder, small: StaticEmbedder
) -> None:
    texts = ["How do I reset my password?", "What is the capital of France?"]
    cut = (await static.embed(texts))[:, :64]
    cut /= np.linalg.norm(cut, axis=1, keepdims=True)
    assert np.abs(await small.embed(texts) - cut).max() < 1e-6


pieces = st.lists(
    st.sampled_from(["a", "password", "<s>", "<", "é", "▁", " ", "  ", "\n", "re", "x" * 70]), max_size=12
)


@given(pieces)
@settings(max_examples=200)
@example(["a", " ", "<s>", " ", "password"])
@example(["a", "▁", " ", "▁", "re"])
def test_tokens_of_words_equal_tokens_of_the_whole_text(small: StaticEmbedder, parts: list[str]) -> None:
    text = "".join(parts)
    alone = asyncio.run(small.embed([text]))
    beside_a_long_one = asyncio.run(small.embed([text, "x" * (INLINE_CHARACTERS + 1)]))
    assert np.array_equal(alone[0], beside_a_long_one[0])


async def test_texts_beyond_a_batch_and_tokens_beyond_a_block_are_embedded(small: StaticEmbedder) -> None:
    many = [f"text number {number}" for number in range(2 * BATCH + 3)]
    vectors = await small.embed(many)
    assert np.array_equal(vectors[-1], (await small.embed(many[-1:]))[0])
    book = "red " * BLOCK + "green " * BLOCK + "blue " * BLOCK
    pieces = (await small.embed([book, "blue", "violet"])) @ (await small.embed(["blue"]))[0]
    assert pieces[0] > pieces[2]


@pytest.mark.parametrize("dimension", [0, 63, 512])
def test_other_dimensions_are_refused(dimension: int) -> None:
    with pytest.raises(InvalidInput, match="64, 128, 256"):
        StaticEmbedder(dimension)


async def test_a_long_text_does_not_block_the_event_loop(small: StaticEmbedder) -> None:
    task = asyncio.create_task(small.embed(["chapter and verse " * 20_000]))
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
