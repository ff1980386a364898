"""What every Embedder does."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import numpy as np
import pytest

from vectorcache.errors import InvalidInput
from vectorcache_llm.embedders.base import Embedder

TEXTS = [
    "How do I reset my password?",
    "How can I change my password?",
    "What is the capital of France?",
    "Wie setze ich mein Passwort zurück?",
    "パスワードをリセットするにはどうすればいいですか",
    "كيف أعيد تعيين كلمة المرور؟",
    "👩‍👩‍👧‍👦🎉",
    "a\0b",
    "x",
    "12345 + 67890 = ?",
    "<s> </s> [CLS] [PAD] <unk>",
    "\ufffd\u202e\u200b",
]
BLANKS = ["", " ", "\n\t \u3000"]


def fingerprint_elsewhere(make: str) -> str:
    """Of an embedder that another process makes by this expression of ``vectorcache_llm.embedders``."""
    code = f"from vectorcache_llm.embedders import *; print({make}.fingerprint)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


class EmbedderContract:
    """Subclass it, and give it an ``embedder``, and one of other settings as ``other_settings``."""

    tolerance = 1e-6
    """Largest difference of a component between a text that is embedded alone and in a batch."""

    @pytest.fixture
    def embedder(self) -> Embedder:
        raise NotImplementedError

    @pytest.fixture
    def fresh(self, embedder: Embedder) -> Embedder:
        """One that no other test has used or will use."""
        return embedder

    @pytest.fixture
    def other_settings(self) -> Embedder:
        raise NotImplementedError

    async def test_vectors_are_of_length_one_and_finite(self, embedder: Embedder) -> None:
        vectors = await embedder.embed(TEXTS)
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(TEXTS), embedder.dimension)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    async def test_no_texts_give_no_vectors(self, embedder: Embedder) -> None:
        vectors = await embedder.embed([])
        assert (vectors.dtype, vectors.shape) == (np.float32, (0, embedder.dimension))

    async def test_a_blank_text_gives_zeros_beside_others(self, embedder: Embedder) -> None:
        vectors = await embedder.embed([BLANKS[0], TEXTS[0], *BLANKS[1:]])
        assert not vectors[[0, 2, 3]].any()
        assert np.allclose(vectors[1], (await embedder.embed([TEXTS[0]]))[0], atol=self.tolerance)
        assert not (await embedder.embed(BLANKS)).any()

    async def test_a_text_gives_the_same_vector_alone_and_in_a_batch_of_any_order(
        self, embedder: Embedder
    ) -> None:
        together = await embedder.embed(TEXTS)
        backwards = (await embedder.embed(TEXTS[::-1]))[::-1]
        alone = np.concatenate([await embedder.embed([text]) for text in TEXTS])
        assert np.abs(together - alone).max() <= self.tolerance
        assert np.abs(together - backwards).max() <= self.tolerance

    async def test_equal_texts_give_equal_vectors_and_others_do_not(self, embedder: Embedder) -> None:
        one, other, again = await embedder.embed([TEXTS[0], TEXTS[2], TEXTS[0]])
        assert np.abs(one - again).max() <= self.tolerance
        assert one @ other < 0.99

    async def test_similar_texts_are_nearer_than_others(self, embedder: Embedder) -> None:
        one, similar, other = await embedder.embed(TEXTS[:3])
        assert one @ similar > one @ other

    async def test_what_is_given_back_belongs_to_the_caller(self, embedder: Embedder) -> None:
        vectors = await embedder.embed(TEXTS[:2])
        before = vectors.copy()
        vectors[:] = 0
        assert np.abs(await embedder.embed(TEXTS[:2]) - before).max() <= self.tolerance

    async def test_a_tuple_will_do(self, embedder: Embedder) -> None:
        assert (await embedder.embed(tuple(TEXTS[:3]))).shape == (3, embedder.dimension)

    async def test_long_texts_are_taken(self, embedder: Embedder) -> None:
        vectors = await embedder.embed(["word " * 20_000, "x" * 5000])
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    async def test_who_cuts_says_so(self, fresh: Embedder, caplog: pytest.LogCaptureFixture) -> None:
        await fresh.embed(["a word or two"])
        assert fresh.truncated == 0
        await fresh.embed(["word " * 20_000, "a word or two", "other " * 20_000])
        assert fresh.truncated == (2 if fresh.max_tokens else 0)
        assert len(caplog.records) == (1 if fresh.max_tokens else 0)

    @pytest.mark.parametrize(
        "texts", ["text", None, {"a"}, [1], ["a", None], [b"bytes"], ["a", "lone \ud800"]]
    )
    async def test_what_is_no_text_is_refused(self, embedder: Embedder, texts: list[str]) -> None:
        with pytest.raises(InvalidInput, match="texts"):
            await embedder.embed(texts)

    async def test_calls_may_run_side_by_side(self, embedder: Embedder) -> None:
        expected = await embedder.embed(TEXTS)
        answers = await asyncio.gather(*(embedder.embed(TEXTS[n : n + 3]) for n in range(9)))
        for number, vectors in enumerate(answers):
            assert np.abs(vectors - expected[number : number + 3]).max() <= self.tolerance

    async def test_a_cancelled_call_does_not_affect_others(self, embedder: Embedder) -> None:
        cancelled = asyncio.create_task(embedder.embed(["word " * 2000]))
        other = asyncio.create_task(embedder.embed(TEXTS[:2]))
        await asyncio.sleep(0)
        cancelled.cancel()
        assert (await other).shape == (2, embedder.dimension)
        await asyncio.gather(cancelled, return_exceptions=True)

    def test_the_fingerprint_tells_settings_apart(self, embedder: Embedder, other_settings: Embedder) -> None:
        assert embedder.fingerprint == embedder.fingerprint
        assert embedder.fingerprint != other_settings.fingerprint
        assert embedder.fingerprint.isprintable()
        assert 0 < len(embedder.fingerprint) <= 300

    async def test_closing_twice_is_closing_once(self, fresh: Embedder) -> None:
        async with fresh:
            await fresh.embed(["a"])
        await fresh.close()
