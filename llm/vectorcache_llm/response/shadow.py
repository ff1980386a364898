"""Records would-be hits with both replies, for people to label."""

from __future__ import annotations

import asyncio
import random
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from vectorcache.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class WouldBeHit:
    """A question and the similar stored question whose reply might have been served.

    Attributes:
        a: the question that was asked.
        b: the stored question.
        similarity: cosine of the two.
        reason: why the guard refuses the pair; empty if it does not.
        stored_reply: the stored reply.
        fingerprint: fingerprint of the embedder.
    """

    a: str
    b: str
    similarity: float
    reason: str
    stored_reply: str
    fingerprint: str


class ShadowCollector:
    """Collects a sample of would-be hits in a file, each with the model's own reply instead of being served.

    The file is JSONL, one object per line, with ``"same": null``. Replace null by true if the two questions may share a
    reply, and by false otherwise. ``load_pairs`` reads the labelled lines, from which ``measure`` picks a threshold.
    The file contains users' prompts: store it accordingly.

    Args:
        path: file to append to; created by the first hit.
        sample: share of would-be hits, 0 to 1, that is not served but written. Their callers wait for the model.
        floor: minimum similarity of a would-be hit.
        max_bytes: maximum file size. At this size, the collector stops taking samples.
        rng: random numbers for the sample.
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
        self._rng = rng or random.Random()  # noqa: S311 - not used for security
        self._written = self._path.stat().st_size if self._path.exists() else 0
        self._lock = asyncio.Lock()

    def takes(self, similarity: float) -> bool:
        """Return whether a would-be hit belongs to the sample."""
        wanted = similarity >= self.floor and self._written < self._max_bytes
        return wanted and self._rng.random() < self._sample

    async def write(self, hit: WouldBeHit, reply: str) -> None:
        """Append a would-be hit and the model's reply.

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
