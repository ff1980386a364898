"""Models of the sentence-transformers library."""

from __future__ import annotations

from typing import Any

from vectorcache.errors import InvalidInput
from vectorcache_llm.embedders.local import LocalEmbedder
from vectorcache_llm.extras import require

MODELS = {
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "mpnet": "sentence-transformers/all-mpnet-base-v2",
    "distilbert": "sentence-transformers/multi-qa-distilbert-cos-v1",
}
"""Short names of models. Other names are passed to the library unchanged."""

BATCH_SIZE = 32


class SentenceTransformerEmbedder(LocalEmbedder):
    """A sentence-transformers model, given by name or as an object.

    The library downloads a named model if it is not on disk yet. The last digits of a vector depend on the padding of
    the batch.

    Args:
        model: "minilm", "mpnet", "distilbert", any name or path that the library accepts, or a loaded
            ``SentenceTransformer``.
        name: name of a loaded model in fingerprints; must change whenever the model changes.
        device: device of a named model, such as "cpu" or "cuda"; None lets the library choose.
        batch_size: number of texts per batch.

    Raises:
        MissingExtra: ``sentence-transformers`` is not installed.
        InvalidInput: a loaded model has no name.
    """

    def __init__(
        self,
        model: Any = "minilm",
        *,
        name: str | None = None,
        device: str | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        if isinstance(model, str):
            name = MODELS.get(model, model)
            model = require("sentence_transformers", "sentence-transformers").SentenceTransformer(
                name, device=device
            )
        elif not name:
            raise InvalidInput("name", name, "a name for the loaded model")
        self._model = model
        self._batch_size = batch_size
        max_tokens: int | None = model.max_seq_length
        dimension = len(self._vectors(["dimension"])[0])
        super().__init__(f"sentence-transformers:{name}:{max_tokens}:{dimension}", dimension, max_tokens)

    def _encode(self, texts: list[str]) -> tuple[object, int]:
        return self._vectors(texts), self._count_truncated(texts)

    def _vectors(self, texts: list[str]) -> Any:
        return self._model.encode(
            texts, batch_size=self._batch_size, show_progress_bar=False, convert_to_numpy=True
        )

    def _count_truncated(self, texts: list[str]) -> int:
        limit = self._truncation.max_tokens
        if limit is None:
            return 0
        return sum(
            len(tokens) > limit for tokens in self._model.tokenizer(texts, truncation=False)["input_ids"]
        )
