"""Validation of texts and normalisation of vectors, shared by all embedders."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np

from vectorcache.errors import CorruptData, InvalidInput
from vectorcache.vectors.metric import SMALLEST_NORM, Floats

logger = logging.getLogger(__name__)

DIGEST_CHARACTERS = 16
"""Length of a digest in a fingerprint, in hexadecimal digits: 64 bits."""

INLINE_NUMBERS = 16_384
"""Maximum amount of numbers normalised on the event loop, which takes half a millisecond for lists."""


def check_texts(texts: Sequence[str]) -> None:
    """Raise ``InvalidInput`` unless ``texts`` is a sequence of Unicode strings."""
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise InvalidInput("texts", texts, "a sequence of strings")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidInput(f"texts[{row}]", text, "a string")
        if not text.isascii():
            _check_unicode(row, text)


def check_dimension(dimension: int) -> None:
    """Raise ``InvalidInput`` for a dimension less than 1."""
    if dimension < 1:
        raise InvalidInput("dimension", dimension, "1 or more")


def is_blank(text: str) -> bool:
    """Return whether a text is blank, in which case its vector is zeros for every model."""
    return not text or text.isspace()


async def embed_filled(
    texts: Sequence[str], dimension: int, encode: Callable[[list[str]], Awaitable[object]]
) -> Floats:
    """Validate texts, encode those that are not blank, and return the normalised vectors in order.

    Args:
        texts: texts to embed.
        dimension: number of components of a vector.
        encode: function from n texts to (n, dimension) numbers, not normalised.
    """
    check_texts(texts)
    vectors = np.zeros((len(texts), dimension), dtype=np.float32)
    filled = [row for row, text in enumerate(texts) if not is_blank(text)]
    if filled:
        raw = await encode([texts[row] for row in filled])
        if len(filled) * dimension <= INLINE_NUMBERS:
            vectors[filled] = unit_rows(raw, len(filled), dimension)
        else:
            vectors[filled] = await asyncio.to_thread(unit_rows, raw, len(filled), dimension)
    return vectors


def unit_rows(raw: object, count: int, dimension: int) -> Floats:
    """Normalise rows to (count, dimension) float32 of length 1. Rows close to zero become zeros.

    Raises:
        CorruptData: the number of rows or the dimension is wrong, or a number is not finite.
    """
    try:
        rows = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise CorruptData(f"the model returned something other than numbers: {error}") from error
    if rows.shape != (count, dimension):
        raise CorruptData(
            f"the model returned an array of shape {rows.shape} instead of {(count, dimension)}"
        )
    with np.errstate(over="ignore"):
        norms = np.sqrt(np.vecdot(rows, rows))[:, None]
    if not np.isfinite(norms).all():
        raise CorruptData("the model returned numbers that are not finite or too large")
    return (rows / np.where(norms < SMALLEST_NORM, np.inf, norms)).astype(np.float32)


def digest_of(*paths: Path) -> str:
    """Return a digest of the contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:DIGEST_CHARACTERS]


class Truncation:
    """Counts truncated texts, and logs the first one."""

    def __init__(self, max_tokens: int | None) -> None:
        self.max_tokens = max_tokens
        self.count = 0

    def add(self, texts: int) -> None:
        """Add a number of truncated texts."""
        if texts and not self.count:
            logger.warning(
                "a text was truncated after %s tokens; further ones are only counted, see `truncated`",
                self.max_tokens,
            )
        self.count += texts


def _check_unicode(row: int, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"texts[{row}]", text, "Unicode without lone surrogates") from None
