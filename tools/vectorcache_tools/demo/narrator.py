"""The terminal output of the demo."""

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
    "cold": "cold: caches are empty, so chunks are loaded from blob storage",
    "warm": "warm: the same queries again, served from memory",
    "restarted": "restarted: new node processes, which load their chunks from disk",
}


class Narrator:
    """A writer of headings, lines and tables to a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def build(self, url: str) -> None:
        """Introduce the builds."""
        self._chapter(
            "1  Build",
            "k-means partitions the vectors into cells; neighbouring cells share a chunk.",
        )
        self._line(f"Blob store: {url}")

    def built(self, sample: Sample, manifest: Manifest) -> None:
        """Describe the result of a build."""
        shape = f"{manifest.vectors:,} {sample.about} with {manifest.dimension} dimensions"
        self._line(f"{shape}; {len(sample.queries):,} more are held out as queries.")
        size = sum(chunk.bytes for chunk in manifest.chunks) / 2**20
        point = {one.nprobe: one for one in manifest.search.curve}[manifest.search.nprobe]
        self._line(f"{manifest.cells:,} cells in {len(manifest.chunks)} chunks, {size:.0f} MiB.")
        self._line(
            f"A search probes {point.nprobe} cells ({point.scanned:.1%} of the vectors) for a recall of 0.95,"
        )
        self._line(f"as measured by the build on its own sample. Built in {manifest.build_seconds:.1f} s.")

    def cluster(self, cluster: LocalCluster) -> None:
        """List the processes of the first cluster."""
        self._chapter(
            "2  Nodes and router",
            "Separate processes on loopback. The ring assigns each chunk to a node.",
        )
        for name, url in {"router": cluster.router_url, **cluster.nodes}.items():
            self._line(f"{name:<8} {url}  process {cluster.pids[name]}")

    def words(self, answers: Iterable[tuple[str, list[str]]]) -> None:
        """Print the neighbours of words."""
        self._chapter(
            "3  Neighbours",
            "The queries are the vectors of a few words, which are fetched by id.",
        )
        for word, near in answers:
            self._console.print(
                Text(f"{word:>8}  ", style="bold cyan").append(", ".join(near), style="default")
            )

    def passes(self, queries: int) -> None:
        """Introduce the passes over the queries."""
        self._chapter(
            "4  Held-out queries",
            f"The same {queries:,} queries three times, one by one. Bars: chunk reads by layer.",
        )

    def one_pass(self, name: str, score: Score, hits: Mapping[str, int]) -> None:
        """Print the figures of one pass over the queries."""
        self._line(_PASSES[name], style="bold")
        times = f"p50 {score.milliseconds(50):.2f} ms   p99 {score.milliseconds(99):.2f} ms"
        self._line(f"  {times}   first query {score.first_ms:.1f} ms")
        total = max(1, sum(hits.values()))
        for tier in TIERS:
            bar = Text(f"  {tier:<7}{hits[tier]:>9,}  ").append(_bar(hits[tier], total), style=_STYLES[tier])
            self._console.print(bar)

    def recall(self, figures: CollectionFigures) -> None:
        """Print the recall of the answers."""
        recall = f"recall@10 {figures.recall_at_10:.4f}"
        self._line(f"{recall}, compared with brute force over all vectors.", style="bold")

    def load(self, score: Score, callers: int) -> None:
        """Print the figures of concurrent callers."""
        self._chapter(
            "5  Load",
            f"{callers} concurrent callers, on the same machine as the servers.",
        )
        times = f"p50 {score.milliseconds(50):.2f} ms   p99 {score.milliseconds(99):.2f} ms"
        self._line(f"{score.rate:,.0f} queries/s   {times}", style="bold")
        self._line(f"{score.failed} queries failed, {score.wrong} answers differ from the earlier ones.")

    def resize(
        self, report: DemoReport, before: Mapping[str, int], after: Mapping[str, int], score: Score
    ) -> None:
        """Print the effect of adding a node."""
        self._chapter(
            "6  Resize",
            "POST /v1/nodes/count adds a node under the same load. All answers are compared.",
        )
        table = Table("node", "slots before", "slots after", "", box=None)
        for name, slots in after.items():
            bar = Text(_bar(slots, max(after.values())), style="cyan")
            table.add_row(name, f"{before.get(name, 0):,}", f"{slots:,}", bar)
        self._console.print(table)
        share = report.moved_slots / report.virtual_nodes
        self._line(
            f"{report.moved_slots:,} of {report.virtual_nodes:,} slots moved ({share:.1%}; "
            f"the ideal is 1/{len(after)}, {1 / len(after):.1%}) in {report.resize_seconds:.1f} s."
        )
        answers = f"{len(score.latencies):,} queries during the resize, {score.rate:,.0f} per second"
        self._line(f"{answers}: {score.failed} failed, {score.wrong} answers differ.", style="bold")

    def passages(self, count: int, queries: int) -> None:
        """Introduce the collection of passages."""
        self._chapter(
            "7  Text",
            "Passages embedded on this machine. Scans read codes of 2 bits per component.",
        )
        self._line(f"Embedding {count:,} passages and {queries:,} held-out ones.")

    def questions(self, answers: Iterable[tuple[str, list[str]]]) -> None:
        """Print the titles of the passages nearest to questions."""
        for question, titles in answers:
            self._console.print(
                Text(f"{question}  ", style="bold cyan").append(", ".join(titles), style="default")
            )

    def collections(self, report: DemoReport) -> None:
        """Print the figures of both collections side by side."""
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
        self._line("nodes: average per query. in memory: memory layers, without memory-mapped files.")

    def closed(self, report: DemoReport) -> None:
        """Print how the processes ended."""
        how = (
            f"{report.unclean_exits} processes did not exit cleanly"
            if report.unclean_exits
            else "all processes exited with code 0"
        )
        self._chapter("8  End", f"SIGTERM was sent to all processes: {how}.")

    def end(self, report: DemoReport) -> None:
        """Print the faults, or that there are none."""
        for fault in report.faults:
            self._line(f"FAULT: {fault}", style="bold red")
        if not report.faults:
            self._line(f"Completed without faults in {report.seconds:.0f} s.", style="bold green")

    def _chapter(self, title: str, about: str) -> None:
        self._console.rule(Text(title, style="bold"), align="left", characters="─")
        self._line(about, style="dim")

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style))


def _bar(value: int, total: int) -> str:
    """Return a bar. Values above 0 get at least one block."""
    return "█" * max(round(BAR * value / total), min(value, 1))
