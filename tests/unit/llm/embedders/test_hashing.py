from __future__ import annotations

import threading

import pytest
from tests.support.llm.embedder_contract import EmbedderContract, fingerprint_elsewhere

from vectorcache.errors import InvalidInput
from vectorcache_llm.embedders import HashingEmbedder


class TestContract(EmbedderContract):
    @pytest.fixture
    def embedder(self) -> HashingEmbedder:
        return HashingEmbedder()

    @pytest.fixture
    def other_settings(self) -> HashingEmbedder:
        return HashingEmbedder(128)


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    assert fingerprint_elsewhere("HashingEmbedder()") == HashingEmbedder().fingerprint


async def test_its_vectors_are_stable() -> None:
    (vector,) = await HashingEmbedder(8).embed(["Hello, world"])
    assert vector.tolist() == pytest.approx(
        [0.0, 0.2236, -0.4472, 0.0, -0.4472, 0.2236, -0.6708, 0.2236], abs=1e-4
    )


async def test_words_count_more_than_pieces_and_case_does_not_count() -> None:
    one, shouted, shared, pieces, other = await HashingEmbedder(1024).embed(
        ["reset the password", "RESET THE PASSWORD", "the password", "resetting passwords", "boil an egg"]
    )
    assert one @ shouted == pytest.approx(1)
    assert one @ shared > one @ pieces > one @ other + 0.1


async def test_long_texts_are_hashed_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder, threads = HashingEmbedder(), []
    vectors = embedder._vectors
    monkeypatch.setattr(
        embedder, "_vectors", lambda texts: threads.append(threading.current_thread()) or vectors(texts)
    )
    await embedder.embed(["short"])
    await embedder.embed(["word " * 1000])
    assert [one is threading.main_thread() for one in threads] == [True, False]


def test_a_dimension_is_positive() -> None:
    with pytest.raises(InvalidInput, match="dimension"):
        HashingEmbedder(0)
