"""The steps of the demo: store, ask again, ask paraphrases, ask traps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from vectorcache_llm.chat import byte_tokenizer
from vectorcache_llm.config import load, open_caches
from vectorcache_llm.demo.narrator import Narrator
from vectorcache_llm.demo.report import DemoReport, Example, Pass
from vectorcache_llm.manager import Manager
from vectorcache_llm.metrics.sketch import Sketch
from vectorcache_llm.observer import Outcome
from vectorcache_llm.response.lookup import Lookup
from vectorcache_llm.response.pairs import LabelledPair, load_pairs
from vectorcache_llm.response.reply import Reply
from vectorcache_llm.response.request import Request

MODEL = "demo-model"
SHOWN = 8


async def run_demo(folder: Path, narrator: Narrator) -> DemoReport:
    """Run the demo with its files in ``folder``, which must be empty.

    Raises:
        VectorCacheError: a component failed.
    """
    begin = time.perf_counter()
    # The deadline is long so that a slow look-up on a busy machine does not fail the demo.
    given = {"data": str(folder), "response.tiers": ["memory", "disk"], "response.deadline": 10.0}
    settings = load(code=given)
    pairs = load_pairs()
    stored = list(dict.fromkeys(pair.a for pair in pairs))
    report = DemoReport(prompts=len(stored))
    async with await open_caches(settings) as caches:
        await _store(caches, stored, report, narrator)
    async with await open_caches(settings) as caches:  # like a new process: memory is empty
        narrator.again()
        report.cold = await _ask_again(caches, stored, "cold", narrator)
        report.warm = await _ask_again(caches, stored, "warm", narrator)
        await _ask_held_out(caches, pairs, report, narrator)
        report.spared_tokens = caches.metrics.as_dict()["saved"]["completion_tokens"]
    report.seconds = time.perf_counter() - begin
    narrator.end(report)
    return report


async def _store(caches: Manager, questions: Sequence[str], report: DemoReport, narrator: Narrator) -> None:
    count = byte_tokenizer().count
    for question in questions:
        text = _reply_to(question)
        reply = Reply(text, MODEL, prompt_tokens=count(question), completion_tokens=count(text))
        await caches.response.put(Request(question, MODEL), reply)
    assert caches.embedder is not None
    report.embedder = caches.embedder.fingerprint
    report.min_similarity = (await caches.response.stats())["min_similarity"]
    narrator.stored(report)


async def _ask_again(caches: Manager, questions: Sequence[str], name: str, narrator: Narrator) -> Pass:
    score = _Score()
    for question in questions:
        found = await caches.response.get(Request(question, MODEL))
        score.add(found, right=found.reply is not None and found.reply.text == _reply_to(question))
    narrator.one_pass(name, score.result())
    return score.result()


async def _ask_held_out(
    caches: Manager, pairs: Sequence[LabelledPair], report: DemoReport, narrator: Narrator
) -> None:
    """Ask the held-out pairs; the threshold was measured on the others."""
    stored = {pair.a for pair in pairs}
    held_out = [pair for pair in pairs if pair.split == "held_out" and pair.b not in stored]
    narrator.held_out()
    same = _Group([pair for pair in held_out if pair.same])
    traps = _Group([pair for pair in held_out if not pair.same])
    for group in (same, traps):
        await group.ask(caches)
    report.paraphrases, report.paraphrase_kinds = same.score.result(), same.kinds
    report.traps, report.trap_kinds = traps.score.result(), traps.kinds
    report.examples = sorted(traps.refused, key=lambda one: -one.similarity)[:SHOWN]
    report.wrong = sorted(same.wrong + traps.wrong, key=lambda one: -one.similarity)
    served = report.paraphrases.semantic + report.traps.semantic
    wrong = report.paraphrases.wrong + report.traps.wrong
    report.precision = (served - wrong) / served if served else 0.0
    report.recall = (report.paraphrases.semantic - report.paraphrases.wrong) / max(
        report.paraphrases.asked, 1
    )
    narrator.kinds(report)


class _Group:
    """Pairs of which the second question is asked; the first questions of all pairs are stored."""

    def __init__(self, pairs: Sequence[LabelledPair]) -> None:
        self._pairs = pairs
        self.score = _Score()
        self.kinds: dict[str, tuple[int, int]] = {}
        self.refused: list[Example] = []
        self.wrong: list[Example] = []

    async def ask(self, caches: Manager) -> None:
        for pair in self._pairs:
            found = await caches.response.get(Request(pair.b, MODEL))
            right = pair.same and found.matched == pair.a
            self.score.add(found, right)
            asked, served = self.kinds.get(pair.kind, (0, 0))
            self.kinds[pair.kind] = (asked + 1, served + (found.reply is not None))
            if found.reply is not None and not right:
                self.wrong.append(Example(pair.kind, pair.b, found.matched, found.similarity or 0.0))
            if found.outcome is Outcome.REFUSED and found.matched == pair.a:
                self.refused.append(Example(pair.kind, pair.b, pair.a, found.similarity or 0.0, found.reason))


class _Score:
    """Counts of look-ups by outcome."""

    def __init__(self) -> None:
        self._pass = Pass(tiers={})
        self._times = Sketch()

    def add(self, found: Lookup, right: bool) -> None:
        of = self._pass
        of.asked += 1
        of.exact += found.outcome is Outcome.EXACT
        of.semantic += found.outcome is Outcome.SEMANTIC
        of.refused += found.outcome is Outcome.REFUSED
        of.missed += found.outcome in (Outcome.MISS, Outcome.FAILED)
        of.wrong += found.reply is not None and not right
        if found.reply is not None:
            of.tiers[found.tier] = of.tiers.get(found.tier, 0) + 1
        self._times.add(found.seconds)

    def result(self) -> Pass:
        p50, p99 = self._times.quantiles(0.5, 0.99)
        self._pass.p50_ms, self._pass.p99_ms = p50 * 1e3, p99 * 1e3
        return self._pass


def _reply_to(question: str) -> str:
    return f"What the model answered to: {question}"
