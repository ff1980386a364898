"""Would-be hits, written down with both replies, so that somebody can say which of them are right."""

from __future__ import annotations

import asyncio
import random
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from vectorcache.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class WouldBeHit:
    """A question whose reply might have been that of a stored one.

    Attributes:
        a: the question that was asked.
        b: the stored one.
        similarity: cosine of the two.
        reason: why the guard refuses it; empty where it does not.
        stored_reply: what would have been served.
        fingerprint: of the embedder.
    """

    a: str
    b: str
    similarity: float
    reason: str
    stored_reply: str
    fingerprint: str


class ShadowCollector:
    """Holds a sample of would-be hits back from being served, and writes each with the model's own reply to a file.

    The file is JSONL, one object a line, with ``"same": null``. Who reads it fills in true where the two questions
    may share a reply and false where not; ``load_pairs`` takes what is filled in, and ``measure`` picks a threshold
    from it. The texts are those of users: keep the file where their prompts may be kept.

    Args:
        path: appended to; made when the first hit is written.
        sample: share of would-be hits, 0 to 1, that is held back and written. Their callers wait for the model.
        floor: least similarity of what counts as a would-be hit.
        max_bytes: the file grows no larger; then nothing is held back any more.
        rng: draws the sample.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        sample: float = 0.1,
        floor: float = 0.5,
        max_bytes: int = 64 << 20,
        rng: random.Random | None = None,
    ) -> None:
        for field, value in (("sample", sample), ("floor", floor)):
            if not 0 <= value <= 1:
                raise InvalidInput(field, value, "0 to 1")
        self.floor = floor
        self._path = Path(path)
        self._sample = sample
        self._max_bytes = max_bytes
        self._rng = rng or random.Random()  # noqa: S311 - a sample, not a secret
        self._written = self._path.stat().st_size if self._path.exists() else 0
        self._lock = asyncio.Lock()

    def takes(self, similarity: float) -> bool:
        """Whether this would-be hit is one of the sample."""
        wanted = similarity >= self.floor and self._written < self._max_bytes
        return wanted and self._rng.random() < self._sample

    async def write(self, hit: WouldBeHit, reply: str) -> None:
        """Add a hit and what the model replied.

        Raises:
            OSError: the file cannot be written.
        """
        line = msgspec.json.encode({"same": None, "reply": reply, **asdict(hit)}) + b"\n"
        async with self._lock:
            self._written += len(line)
            if self._written <= self._max_bytes:
                await asyncio.to_thread(self._append, line)

    def _append(self, line: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(line)
