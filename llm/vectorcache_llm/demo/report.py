"""The figures of a demo, and the checks on them."""

from __future__ import annotations

import msgspec


class Pass(msgspec.Struct, kw_only=True):
    """Result of one pass of questions, asked sequentially.

    Attributes:
        asked: number of questions.
        exact, semantic, refused, missed: number of questions by outcome.
        wrong: number of questions that were served the reply to a different question.
        tiers: hits by tier.
        p50_ms, p99_ms: latency of all look-ups, including the embedding, in milliseconds.
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
    """A question, the stored question it matched, their similarity, and for a refused trap the reason."""

    kind: str
    asked: str
    stored: str
    similarity: float
    reason: str = ""


class DemoReport(msgspec.Struct, kw_only=True):
    """Measurements of a demo.

    Attributes:
        prompts: number of stored questions.
        embedder: fingerprint of the embedder.
        min_similarity: threshold, measured on the tuning half of the pairs; None if no threshold is good enough.
        cold: pass over the stored questions with empty memory, so replies come from disk.
        warm: the same pass again, from memory.
        paraphrases: pass over held-out paraphrases.
        traps: pass over held-out questions that look similar and are different.
        paraphrase_kinds, trap_kinds: numbers of asked and served questions, by kind of change.
        examples: most similar traps that the guard refused.
        wrong: questions that were served a wrong reply, with the question that the reply belongs to.
        precision: share of right replies among those served to paraphrases and traps. The reply to a third question
            counts as wrong, though some of these mean the same.
        recall: share of paraphrases that were served the right reply.
        spared_tokens: completion tokens of the calls that were saved, estimated from the texts.
        seconds: duration of the demo.
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
        """Failed checks; empty if all passed."""
        checks = {
            "a stored question was not found again": self.warm.exact < self.warm.asked,
            "replies from disk were not promoted to memory": self.warm.tiers.get("memory", 0)
            < 0.95 * self.warm.exact,
            "no paraphrase was served": not self.paraphrases.semantic,
            f"precision {self.precision:.3f} is below {MIN_PRECISION}": self.precision < MIN_PRECISION,
        }
        return [fault for fault, there in checks.items() if there]


MIN_PRECISION = 0.8
"""Required precision. It is below the 0.95 that the threshold ensures for pairs, because here all stored questions
compete, and the reply to a third one counts as wrong."""
