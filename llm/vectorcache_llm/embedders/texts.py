"""What every embedder asks of texts and gives as vectors."""

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
"""Of a digest that is part of a fingerprint: 64 bits."""

INLINE_NUMBERS = 16_384
"""Numbers that are brought to length 1 at once: half a millisecond where they are in lists. More go to a thread."""


def check_texts(texts: Sequence[str]) -> None:
    """Raise ``InvalidInput`` for what is no sequence of Unicode strings."""
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise InvalidInput("texts", texts, "a sequence of strings")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidInput(f"texts[{row}]", text, "a string")
        if not text.isascii():
            _check_unicode(row, text)


def check_dimension(dimension: int) -> None:
    """Raise ``InvalidInput`` for what is no number of components."""
    if dimension < 1:
        raise InvalidInput("dimension", dimension, "1 or more")


def is_blank(text: str) -> bool:
    """Whether there is nothing to embed: its vector is zeros, whatever a model would make of it."""
    return not text or text.isspace()


async def embed_filled(
    texts: Sequence[str], dimension: int, encode: Callable[[list[str]], Awaitable[object]]
) -> Floats:
    """Check texts, have those encoded that are not blank, and bring the vectors into order and to length 1.

    Args:
        texts: what was asked for.
        dimension: components of a vector.
        encode: n texts to (n, dimension) numbers of any length.
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
    """Rows (count, dimension) float32 of length 1; zeros where a row has no direction.

    Raises:
        CorruptData: they are not as many, not of this dimension, or not finite: the model is not what it was said
            to be.
    """
    try:
        rows = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise CorruptData(f"the model gave no numbers: {error}") from error
    if rows.shape != (count, dimension):
        raise CorruptData(f"the model gave an array {rows.shape} instead of {(count, dimension)}")
    with np.errstate(over="ignore"):
        norms = np.sqrt(np.vecdot(rows, rows))[:, None]
    if not np.isfinite(norms).all():
        raise CorruptData("the model gave numbers that are not finite, or close to it")
    return (rows / np.where(norms < SMALLEST_NORM, np.inf, norms)).astype(np.float32)


def digest_of(*paths: Path) -> str:
    """Tells models of different files apart."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:DIGEST_CHARACTERS]


class Truncation:
    """Counts the texts that were cut, and says so in the log, once."""

    def __init__(self, max_tokens: int | None) -> None:
        self.max_tokens = max_tokens
        self.count = 0

    def add(self, texts: int) -> None:
        """So many texts were cut."""
        if texts and not self.count:
            logger.warning(
                "a text was cut after %s tokens; more may follow, see `truncated`", self.max_tokens
            )
        self.count += texts


def _check_unicode(row: int, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"texts[{row}]", text, "Unicode without lone surrogates") from None
