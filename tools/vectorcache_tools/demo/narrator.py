"""What a demo tells its reader, on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vectorcache.index.manifest import Manifest
from vectorcache_tools.demo.questions import Score
from vectorcache_tools.demo.report import CollectionFigures, DemoReport
from vectorcache_tools.demo.sample import Sample
from vectorcache_tools.demo.tally import TIERS
from vectorcache_tools.local import LocalCluster

BAR = 32
_STYLES = {"memory": "green", "disk": "yellow", "blob": "red"}
_PASSES = {
    "cold": "cold: caches are empty, chunks come out of blob storage",
    "warm": "warm: the same again, out of memory",
    "restarted": "restarted: new node processes find their chunks on disk",
}


class Narrator:
    """Writes rules, lines and tables to a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def build(self, url: str) -> None:
        """Before the first build."""
        self._chapter(
            "1  Build", "k-means cuts the vectors into cells; neighbouring cells share a chunk, one blob."
        )
        self._line(f"Blob store: {url}")

    def built(self, sample: Sample, manifest: Manifest) -> None:
        """After a build."""
        shape = f"{manifest.vectors:,} {sample.about} x {manifest.dimension} numbers"
        self._line(f"{shape}; {len(sample.queries):,} more are held out as queries.")
        size = sum(chunk.bytes for chunk in manifest.chunks) / 2**20
        point = {one.nprobe: one for one in manifest.search.curve}[manifest.search.nprobe]
        self._line(f"{manifest.cells:,} cells in {len(manifest.chunks)} chunks, {size:.0f} MiB.")
        self._line(
            f"A search scans {point.nprobe} cells, {point.scanned:.1%} of the vectors: what recall 0.95 takes,"
        )
        self._line(f"measured by the build on queries of its own. Built in {manifest.build_seconds:.1f} s.")

    def cluster(self, cluster: LocalCluster) -> None:
        """When the first cluster runs."""
        self._chapter("2  Nodes and router", "Real processes on loopback. Each chunk has a node on the ring.")
        for name, url in {"router": cluster.router_url, **cluster.nodes}.items():
            self._line(f"{name:<8} {url}  process {cluster.pids[name]}")

    def words(self, answers: Iterable[tuple[str, list[str]]]) -> None:
        """The neighbours of words."""
        self._chapter(
            "3  Neighbours",
            "The vectors of a few words, by their ids; then the words nearest to them.",
        )
        for word, near in answers:
            self._console.print(
                Text(f"{word:>8}  ", style="bold cyan").append(", ".join(near), style="default")
            )

    def passes(self, queries: int) -> None:
        """Before the passes."""
        self._chapter(
            "4  Held-out queries",
            f"{queries:,} queries one by one, three times. Bars: which tier the chunks came from.",
        )

    def one_pass(self, name: str, score: Score, hits: Mapping[str, int]) -> None:
        """One pass over the queries."""
        self._line(_PASSES[name], style="bold")
        times = f"p50 {score.milliseconds(50):.2f} ms   p99 {score.milliseconds(99):.2f} ms"
        self._line(f"  {times}   first query {score.first_ms:.1f} ms")
        total = max(1, sum(hits.values()))
        for tier in TIERS:
            bar = Text(f"  {tier:<7}{hits[tier]:>9,}  ").append(_bar(hits[tier], total), style=_STYLES[tier])
            self._console.print(bar)

    def recall(self, figures: CollectionFigures) -> None:
        """How good the answers are."""
        recall = f"recall@10 {figures.recall_at_10:.4f}"
        self._line(f"{recall} against brute force over all vectors.", style="bold")

    def load(self, score: Score, callers: int) -> None:
        """Many callers at once."""
        self._chapter(
            "5  Load", f"{callers} callers at once, each waits for its answer. All share this machine."
        )
        times = f"p50 {score.milliseconds(50):.2f} ms   p99 {score.milliseconds(99):.2f} ms"
        self._line(f"{score.rate:,.0f} queries/s   {times}", style="bold")
        self._line(f"{score.failed} failed, {score.wrong} answers differ from those before.")

    def resize(
        self, report: DemoReport, before: Mapping[str, int], after: Mapping[str, int], score: Score
    ) -> None:
        """One node more."""
        self._chapter("6  Resize", "POST /v1/nodes/count under the same load; every answer is compared.")
        table = Table("node", "slots before", "slots after", "", box=None)
        for name, slots in after.items():
            bar = Text(_bar(slots, max(after.values())), style="cyan")
            table.add_row(name, f"{before.get(name, 0):,}", f"{slots:,}", bar)
        self._console.print(table)
        share = report.moved_slots / report.virtual_nodes
        self._line(
            f"{report.moved_slots:,} of {report.virtual_nodes:,} slots moved ({share:.1%}; "
            f"1/{len(after)} would be {1 / len(after):.1%}), in {report.resize_seconds:.1f} s."
        )
        answers = f"{len(score.latencies):,} queries meanwhile, {score.rate:,.0f} a second"
        self._line(f"{answers}: {score.failed} failed, {score.wrong} answers differ.", style="bold")

    def passages(self, count: int, queries: int) -> None:
        """Before the passages are embedded."""
        self._chapter(
            "7  Text", "Passages of articles, embedded here; a scan reads codes of 2 bits for each number."
        )
        self._line(f"Embedding {count:,} passages, and {queries:,} that are held out.")

    def questions(self, answers: Iterable[tuple[str, list[str]]]) -> None:
        """Titles of the passages nearest to questions."""
        for question, titles in answers:
            self._console.print(
                Text(f"{question}  ", style="bold cyan").append(", ".join(titles), style="default")
            )

    def collections(self, report: DemoReport) -> None:
        """Both collections side by side."""
        table = Table(
            *("", "vectors", "recall", "p50 ms", "p99 ms", "nodes", "in blobs", "in memory"), box=None
        )
        for name, one in report.collections.items():
            table.add_row(
                *(name, f"{one.vectors:,} x {one.dimension}", f"{one.recall_at_10:.3f}"),
                *(f"{one.p50_ms:.2f}", f"{one.p99_ms:.2f}", f"{one.nodes_per_query:.1f}"),
                *(f"{one.bytes / 2**20:.0f} MiB", f"{one.memory_bytes / 2**20:.1f} MiB"),
            )
        self._console.print(table)
        self._line(
            "Nodes: how many a query asks. In memory: what nodes hold; files on their disks are mapped."
        )

    def closed(self, report: DemoReport) -> None:
        """When the last cluster has ended."""
        how = (
            f"{report.unclean_exits} of them not cleanly" if report.unclean_exits else "all with exit code 0"
        )
        self._chapter("8  End", f"SIGTERM to every process; they finish what runs and close: {how}.")

    def end(self, report: DemoReport) -> None:
        """The last word."""
        for fault in report.faults:
            self._line(f"FAULT: {fault}", style="bold red")
        if not report.faults:
            self._line(f"All is well, after {report.seconds:.0f} s.", style="bold green")

    def _chapter(self, title: str, about: str) -> None:
        self._console.rule(Text(title, style="bold"), align="left", characters="─")
        self._line(about, style="dim")

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style))


def _bar(value: int, total: int) -> str:
    """A bar; what is there at all is seen."""
    return "█" * max(round(BAR * value / total), min(value, 1))
