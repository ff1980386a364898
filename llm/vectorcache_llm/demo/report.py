"""The figures of a demo, and what is wrong with them."""

from __future__ import annotations

import msgspec


class Pass(msgspec.Struct, kw_only=True):
    """Questions asked one by one, one caller.

    Attributes:
        asked: how many.
        exact, semantic, refused, missed: how they ended.
        wrong: how many of the semantic ones were given the reply to another question.
        tiers: hits by tier.
        p50_ms, p99_ms: of all look-ups, the embedding included.
    """

    asked: int = 0
    exact: int = 0
    semantic: int = 0
    refused: int = 0
    missed: int = 0
    wrong: int = 0
    tiers: dict[str, int] = {}
    p50_ms: float = 0.0
    p99_ms: float = 0.0


class Example(msgspec.Struct):
    """What was asked, what is stored, how similar they are, and, of a trap that was refused, what told them apart."""

    kind: str
    asked: str
    stored: str
    similarity: float
    reason: str = ""


class DemoReport(msgspec.Struct, kw_only=True):
    """What a demo measured.

    Attributes:
        prompts: how many are stored.
        embedder: its fingerprint.
        min_similarity: the threshold, measured on the tuning half of the pairs; None where they cannot carry one.
        cold: the stored questions again, memory empty: replies come from disk. warm: once more, from memory.
        paraphrases: held-out questions in other words; traps: held-out ones that look alike and are not.
        paraphrase_kinds, trap_kinds: by kind of change, how many were asked and how many served.
        examples: traps that the guard refused, the most similar ones.
        wrong: what was served wrongly, and the question whose reply it was.
        precision: share of right ones among what was served of both; recall: share of the paraphrases that were
            served rightly. The reply to a third question counts as wrong, though some of these mean the same.
        spared_tokens: of calls that were not made, as estimated from the texts.
        seconds: of the whole.
    """

    prompts: int = 0
    embedder: str = ""
    min_similarity: float | None = None
    cold: Pass = msgspec.field(default_factory=Pass)
    warm: Pass = msgspec.field(default_factory=Pass)
    paraphrases: Pass = msgspec.field(default_factory=Pass)
    traps: Pass = msgspec.field(default_factory=Pass)
    paraphrase_kinds: dict[str, tuple[int, int]] = {}
    trap_kinds: dict[str, tuple[int, int]] = {}
    examples: list[Example] = []
    wrong: list[Example] = []
    precision: float = 0.0
    recall: float = 0.0
    spared_tokens: int = 0
    seconds: float = 0.0

    @property
    def faults(self) -> list[str]:
        """What should not be; empty where all is well."""
        checks = {
            "a stored question was not found again": self.warm.exact < self.warm.asked,
            "memory was not filled from disk": self.warm.tiers.get("memory", 0) < 0.95 * self.warm.exact,
            "nothing was served in other words": not self.paraphrases.semantic,
            f"precision {self.precision:.3f} is below {LEAST_PRECISION}": self.precision < LEAST_PRECISION,
        }
        return [fault for fault, there in checks.items() if there]


LEAST_PRECISION = 0.8
"""Of a threshold that promises 0.95 for pairs: here all stored questions compete, and a third one counts as wrong."""
