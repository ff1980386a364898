"""What the demo tells its reader, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vectorcache_llm.demo.report import DemoReport, Example, Pass

BAR = 24
_PASSES = {
    "cold": "cold: a new process, memory is empty; replies come from disk, and are copied up",
    "warm": "warm: the same again, from memory",
}


class Narrator:
    """Writes rules, lines and tables to a console; a quiet one tells nothing."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def stored(self, report: DemoReport) -> None:
        """When the replies are in the cache."""
        self._chapter("1  Store", "Replies to questions from many fields; two tiers: memory, and a file.")
        self._line(f"{report.prompts:,} questions with their replies. Embedder: {report.embedder}")
        if report.min_similarity is None:
            self._line(
                "No threshold keeps its promise with this embedder: only the same question is answered."
            )
        else:
            self._line(
                f"Similar questions are served from a cosine of {report.min_similarity:.2f}, measured on labelled"
                " pairs; behind it stands the guard."
            )

    def again(self) -> None:
        """Before the stored questions are asked again."""
        self._chapter("2  The same questions again", "One by one; no model is called.")

    def one_pass(self, name: str, score: Pass) -> None:
        """One pass over the stored questions."""
        self._line(_PASSES[name], style="bold")
        tiers = ", ".join(f"{count:,} from {tier}" for tier, count in score.tiers.items())
        self._line(f"  {score.exact:,} of {score.asked:,} found: {tiers or 'nowhere'}")
        self._line(f"  p50 {score.p50_ms:.3f} ms   p99 {score.p99_ms:.3f} ms")

    def alike(self) -> None:
        """Before the paraphrases and traps."""
        self._chapter(
            "3  In other words, and traps",
            "Labelled questions that had no part in measuring the threshold, asked against all that is stored.",
        )

    def kinds(self, report: DemoReport) -> None:
        """How paraphrases and traps went."""
        self._pass("paraphrases: the same question, so the reply should be served", report.paraphrases)
        self._table(report.paraphrase_kinds, "green")
        self._pass("traps: nearly the same words, but another question", report.traps)
        self._table(report.trap_kinds, "red")
        self._examples(
            "Traps that the guard refused, the most similar ones:", report.examples, "refused, since"
        )
        self._examples("Served the reply to another question, though some mean the same:", report.wrong)

    def end(self, report: DemoReport) -> None:
        """The last word."""
        self._chapter(
            "4  What it comes to",
            "Of paraphrases and traps together; the reply to a third question counts as wrong.",
        )
        self._line(f"precision {report.precision:.3f}: of what was served, so much was right", style="bold")
        self._line(
            f"recall    {report.recall:.3f}: of the paraphrases, so many were served rightly", style="bold"
        )
        self._line(f"{report.spared_tokens:,} tokens of replies were not made again.")
        for fault in report.faults:
            self._line(f"FAULT: {fault}", style="bold red")
        if not report.faults:
            self._line(f"All is well, after {report.seconds:.1f} s.", style="bold green")

    def _pass(self, about: str, score: Pass) -> None:
        self._line(about, style="bold")
        ends = {"served": score.semantic, "refused by the guard": score.refused, "not similar": score.missed}
        self._line(f"  {score.asked} asked: " + ", ".join(f"{count} {end}" for end, count in ends.items()))
        self._line(f"  {score.wrong} were given the reply to another question; p50 {score.p50_ms:.3f} ms")

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
