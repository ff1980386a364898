"""The steps of the demo. Each one narrates what it does and records its figures."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from vectorcache import build_collection, open_blob_store, progress_bars
from vectorcache.errors import DeadlineExceeded
from vectorcache.routing.ring import HashRing
from vectorcache_client.client import AsyncClient
from vectorcache_tools.azurite import LOCAL_BINARY, Azurite
from vectorcache_tools.demo.narrator import Narrator
from vectorcache_tools.demo.passages import Embed, check_installed, load_passages
from vectorcache_tools.demo.questions import Ids, Questions, Score
from vectorcache_tools.demo.report import CollectionFigures, DemoReport
from vectorcache_tools.demo.sample import Sample
from vectorcache_tools.demo.tally import Tally, tally
from vectorcache_tools.demo.words import load_words
from vectorcache_tools.local import LocalCluster, LocalSettings

CONTAINER = "demo"
WORDS = ("king", "paris", "jazz", "whale", "seven")
QUESTIONS = (
    "how do volcanoes erupt",
    "a game played on ice with a stick",
    "who painted the ceiling of a chapel",
)
RESIZE_SECONDS = 30.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """Settings of a demo.

    Attributes:
        blobs: "folder", "azurite", or the URL of a blob store.
        words: number of words to read; None reads all 400 000.
        passages: number of passages to search.
        queries: number of held-out words, and of held-out passages.
        load_seconds: duration of the load from concurrent callers.
        nodes: initial number of nodes.
        callers: number of concurrent callers.
        workspace: directory for the files of the demo; emptied at its start.
    """

    blobs: str = "folder"
    words: int | None = None
    passages: int = 20_000
    queries: int = 1000
    load_seconds: float = 5.0
    nodes: int = 3
    callers: int = 8
    workspace: Path = field(default=Path("build/demo"))

    @classmethod
    def quick(cls, blobs: str) -> DemoSettings:
        """Return settings with an eighth of the words, and a fifth of the other data."""
        return cls(blobs, words=50_000, passages=4_000, queries=200, load_seconds=1.0)


async def run_demo(settings: DemoSettings, environment: Mapping[str, str], console: Console) -> DemoReport:
    """Run all steps and return their figures.

    Raises:
        VectorCacheError: the demo could not be run. Failed queries are counted in the figures instead.
    """
    started = time.perf_counter()
    if settings.workspace.exists():
        shutil.rmtree(settings.workspace)
    async with _blob_store(settings, environment) as (url, credentials):
        demo = _Demo(settings, url, credentials, Narrator(console))
        await demo.run()
    demo.report.seconds = round(time.perf_counter() - started, 1)
    demo.narrator.end(demo.report)
    return demo.report


@asynccontextmanager
async def _blob_store(
    settings: DemoSettings, environment: Mapping[str, str]
) -> AsyncIterator[tuple[str, Mapping[str, str]]]:
    """Yield the URL of the blob store, and the environment with its credentials."""
    if settings.blobs == "folder":
        yield str(settings.workspace / "blobs"), environment
    elif settings.blobs == "azurite":
        azurite = Azurite(LOCAL_BINARY)
        await asyncio.to_thread(azurite.start)
        try:
            await azurite.create_container(CONTAINER)
            yield azurite.url(CONTAINER), {**environment, **azurite.environment}
        finally:
            await asyncio.to_thread(azurite.stop)
    else:
        yield settings.blobs, environment


class _Demo:
    def __init__(
        self, settings: DemoSettings, url: str, environment: Mapping[str, str], narrator: Narrator
    ) -> None:
        self.narrator = narrator
        self.report = DemoReport(blobs=settings.blobs, nodes=settings.nodes, clients=settings.callers)
        self._settings = settings
        self._url = url
        self._environment = environment
        self._words: Sample
        self._warm: dict[int, Ids] = {}  # answers to the words' queries

    async def run(self) -> None:
        settings = self._settings
        check_installed()
        self._words = await asyncio.to_thread(load_words, settings.words, settings.queries, WORDS)
        self.narrator.build(self._url)
        await self._build(self._words)
        async with self._cluster("words") as (cluster, client):
            self.narrator.cluster(cluster)
            await self._near(client)
        async with self._cluster("nodes") as (cluster, client):
            self.narrator.passes(len(self._words.queries))
            self._warm = await self._cold_and_warm(self._words, cluster, client)
        async with self._cluster("nodes") as (cluster, client):
            await self._restarted(cluster, client)
            await self._load(client)
            await self._resize(client)
        async with self._cluster("passages") as (cluster, client):
            await self._passages(cluster, client)
        self.narrator.closed(self.report)

    async def _build(self, sample: Sample) -> None:
        async with open_blob_store(self._url, self._environment) as blobs:
            with progress_bars() as progress:
                built = await build_collection(
                    blobs, sample.name, sample.vectors, attributes=sample.table(), progress=progress
                )
        manifest = built.manifest
        self.report.collections[sample.name] = CollectionFigures(
            vectors=manifest.vectors,
            dimension=manifest.dimension,
            nprobe=manifest.search.nprobe,
            bytes=sum(chunk.bytes for chunk in manifest.chunks),
            build_seconds=manifest.build_seconds,
        )
        self.narrator.built(sample, manifest)

    async def _near(self, client: AsyncClient) -> None:
        found = await client.vectors(self._words.name, WORDS)
        answer = await client.search(self._words.name, [item.vector for item in found.vectors], k=7)
        self.narrator.words(
            (str(item.id), [str(hit.id) for hit in result.hits if hit.id != item.id])
            for item, result in zip(found.vectors, answer.results, strict=True)
        )

    async def _cold_and_warm(
        self, sample: Sample, cluster: LocalCluster, client: AsyncClient
    ) -> dict[int, Ids]:
        """Run all queries twice and return the answers."""
        truth = await asyncio.to_thread(sample.neighbours)
        before = await tally(cluster.nodes.values())
        cold, _ = await self._pass("cold", sample, cluster, client)
        warm, done = await self._pass("warm", sample, cluster, client)
        held = (await tally(cluster.nodes.values())).since(before)
        figures = self.report.collections[sample.name]
        figures.cold_first_ms = round(cold.first_ms, 3)
        figures.cold_p50_ms, figures.cold_p99_ms = _milliseconds(cold)
        figures.p50_ms, figures.p99_ms = _milliseconds(warm)
        figures.recall_at_10 = round(warm.recall(truth), 4)
        figures.memory_bytes = held.memory_bytes
        figures.nodes_per_query = round(done.searches / len(sample.queries), 2)
        self._expect(warm.answers, cold)
        return warm.answers

    async def _passages(self, cluster: LocalCluster, client: AsyncClient) -> None:
        """Build and search a collection of text embeddings, which have more dimensions."""
        count, queries = self._settings.passages, self._settings.queries
        self.narrator.passages(count, queries)
        sample, embed = await asyncio.to_thread(load_passages, count, queries)
        await self._build(sample)
        await self._cold_and_warm(sample, cluster, client)
        await self._ask(sample, embed, client)
        self.narrator.collections(self.report)

    async def _ask(self, sample: Sample, embed: Embed, client: AsyncClient) -> None:
        answer = await client.search(sample.name, embed([*QUESTIONS]), k=3, payload=True)
        self.narrator.questions(
            (question, [str((hit.payload or {}).get("title")) for hit in result.hits])
            for question, result in zip(QUESTIONS, answer.results, strict=True)
        )

    async def _restarted(self, cluster: LocalCluster, client: AsyncClient) -> None:
        score, _ = await self._pass("restarted", self._words, cluster, client)
        self.report.restarted_p50_ms, self.report.restarted_p99_ms = _milliseconds(score)
        self._expect(self._warm, score)
        self.narrator.recall(self.report.collections[self._words.name])

    async def _load(self, client: AsyncClient) -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(self._settings.load_seconds, stop.set)
        score = await self._questions(self._words, client).at_once(self._settings.callers, stop, self._warm)
        self._note(score)
        self.report.qps = round(score.rate, 1)
        self.narrator.load(score, self._settings.callers)

    async def _resize(self, client: AsyncClient) -> None:
        """Add a node while concurrent callers search, and compare each answer with the earlier one."""
        before = await client.ring()
        stop = asyncio.Event()
        asking = asyncio.create_task(
            self._questions(self._words, client).at_once(self._settings.callers, stop, self._warm)
        )
        try:
            await asyncio.sleep(self._settings.load_seconds / 5)
            self.report.resize_seconds = await _resized(client, self._settings.nodes + 1)
            await asyncio.sleep(self._settings.load_seconds / 2)
        finally:
            stop.set()
            score = await asking
        after = await client.ring()
        self._note(score)
        self.report.resize_qps, self.report.resize_queries = round(score.rate, 1), len(score.latencies)
        rings = [
            HashRing([node.name for node in ring.nodes], ring.virtual_nodes, ring.replication)
            for ring in (before, after)
        ]
        self.report.virtual_nodes = after.virtual_nodes
        self.report.moved_slots = len(rings[0].moved(rings[1]))
        self.narrator.resize(self.report, rings[0].slot_counts(), rings[1].slot_counts(), score)

    async def _pass(
        self, name: str, sample: Sample, cluster: LocalCluster, client: AsyncClient
    ) -> tuple[Score, Tally]:
        """Run all queries sequentially. Return their score and the change of the nodes' counters."""
        before = await tally(cluster.nodes.values())
        score = await self._questions(sample, client).one_by_one()
        self._note(score)
        done = (await tally(cluster.nodes.values())).since(before)
        if sample is self._words:
            self.report.tiers[name] = dict(done.hits)
        self.narrator.one_pass(name, score, done.hits)
        return score, done

    def _questions(self, sample: Sample, client: AsyncClient) -> Questions:
        return Questions(client, sample.name, sample.queries)

    def _note(self, score: Score) -> None:
        self.report.failed_queries += score.failed
        self.report.wrong_answers += score.wrong

    def _expect(self, answers: Mapping[int, Ids], score: Score) -> None:
        self.report.wrong_answers += sum(answers[number] != ids for number, ids in score.answers.items())

    @asynccontextmanager
    async def _cluster(self, folder: str) -> AsyncIterator[tuple[LocalCluster, AsyncClient]]:
        """Run a cluster with its caches in a directory, and count the processes that do not exit cleanly."""
        settings = LocalSettings(self._url, self._settings.workspace / folder, nodes=self._settings.nodes)
        cluster = LocalCluster(settings, self._environment)
        try:
            async with cluster, AsyncClient(cluster.router_url, connections=64) as client:
                yield cluster, client
        finally:
            self.report.unclean_exits += sum(code != 0 for code in cluster.exit_codes.values())


def _milliseconds(score: Score) -> tuple[float, float]:
    return round(score.milliseconds(50), 3), round(score.milliseconds(99), 3)


async def _resized(client: AsyncClient, count: int) -> float:
    """Set the number of nodes and wait until they are ready. Return the duration in seconds."""
    started = time.perf_counter()
    await client.set_node_count(count)
    try:
        async with asyncio.timeout(RESIZE_SECONDS):
            while (await client.node_count()).ready != count:  # noqa: ASYNC110 - no event crosses processes
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        raise DeadlineExceeded(f"{count} nodes were not ready within {RESIZE_SECONDS:g} s") from error
    return round(time.perf_counter() - started, 2)
