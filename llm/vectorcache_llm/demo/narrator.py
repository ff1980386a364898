"""Terminal output of the demo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vectorcache_llm.demo.report import DemoReport, Example, Pass

BAR = 24
_PASSES = {
    "cold": "cold: a new process with empty memory; replies come from disk and are promoted to memory",
    "warm": "warm: the same questions again, answered from memory",
}


class Narrator:
    """Prints headings, lines and tables to a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def stored(self, report: DemoReport) -> None:
        """Report that the replies have been stored."""
        self._chapter("1  Store", "Replies to questions from many fields, in two tiers: memory and a file.")
        self._line(f"{report.prompts:,} questions with their replies. Embedder: {report.embedder}")
        if report.min_similarity is None:
            self._line(
                "No threshold reaches the target precision with this embedder: only exact hits are served."
            )
        else:
            self._line(
                f"Similar questions are served from a cosine of {report.min_similarity:.2f}, measured on labelled"
                " pairs, if the guard accepts them."
            )

    def again(self) -> None:
        """Announce the second round of the stored questions."""
        self._chapter("2  The same questions again", "One at a time; no model is called.")

    def one_pass(self, name: str, score: Pass) -> None:
        """Report one pass over the stored questions."""
        self._line(_PASSES[name], style="bold")
        tiers = ", ".join(f"{count:,} from {tier}" for tier, count in score.tiers.items())
        self._line(f"  {score.exact:,} of {score.asked:,} found: {tiers or 'none'}")
        self._line(f"  p50 {score.p50_ms:.3f} ms   p99 {score.p99_ms:.3f} ms")

    def held_out(self) -> None:
        """Announce the paraphrases and traps."""
        self._chapter(
            "3  Paraphrases and traps",
            "Held-out labelled questions, not used to measure the threshold, against all stored questions.",
        )

    def kinds(self, report: DemoReport) -> None:
        """Report the outcomes of paraphrases and traps."""
        self._pass(
            "paraphrases: the same question in other words; the reply should be served", report.paraphrases
        )
        self._table(report.paraphrase_kinds, "green")
        self._pass(
            "traps: a different question in nearly the same words; the reply should be refused", report.traps
        )
        self._table(report.trap_kinds, "red")
        self._examples("The most similar traps that the guard refused:", report.examples, "reason")
        self._examples(
            "Questions served with the reply to a different question (some of these mean the same):",
            report.wrong,
        )

    def end(self, report: DemoReport) -> None:
        """Report the summary."""
        self._chapter(
            "4  Summary",
            "Paraphrases and traps together; the reply to a third question counts as wrong.",
        )
        self._line(f"precision {report.precision:.3f}: share of served replies that were right", style="bold")
        self._line(
            f"recall    {report.recall:.3f}: share of paraphrases that were served the right reply",
            style="bold",
        )
        self._line(f"{report.spared_tokens:,} completion tokens were saved.")
        for fault in report.faults:
            self._line(f"FAILED: {fault}", style="bold red")
        if not report.faults:
            self._line(f"All checks passed in {report.seconds:.1f} s.", style="bold green")

    def _pass(self, about: str, score: Pass) -> None:
        self._line(about, style="bold")
        ends = {"served": score.semantic, "refused by the guard": score.refused, "not similar": score.missed}
        self._line(f"  {score.asked} asked: " + ", ".join(f"{count} {end}" for end, count in ends.items()))
        self._line(
            f"  {score.wrong} were served the reply to a different question; p50 {score.p50_ms:.3f} ms"
        )

    def _table(self, kinds: Mapping[str, tuple[int, int]], style: str) -> None:
        table = Table("kind", "asked", "served", "", box=None)
        for kind, (asked, served) in sorted(kinds.items()):
            bar = Text("█" * round(BAR * served / asked), style=style)
            table.add_row(kind.replace("_", " "), str(asked), str(served), bar)
        self._console.print(table)

    def _examples(self, about: str, examples: Sequence[Example], *columns: str) -> None:
        if not examples:
            return
        self._line(about, style="bold")
        table = Table("asked", "stored", "cosine", *columns, box=None)
        for one in examples:
            cells = (one.asked, one.stored, f"{one.similarity:.2f}", one.reason)
            table.add_row(*map(Text, cells[: 3 + len(columns)]))
        self._console.print(table)

    def _chapter(self, title: str, about: str) -> None:
        self._console.rule(Text(title, style="bold"), align="left", characters="─")
        self._line(about, style="dim")

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style))
