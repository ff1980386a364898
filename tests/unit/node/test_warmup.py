from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from tests.support.core.collections import NAME, build, clustered
from tests.support.core.control import PATIENCE
from tests.support.servers import METRICS, Words, local_node, node_settings, server
from tests.support.servers import until as until_async
from tests.support.waiting import until

from vectorcache.index.manifest import Manifest
from vectorcache.layers.diskfile import file_weight
from vectorcache.routing.placement import shards_of
from vectorcache.routing.ring import HashRing
from vectorcache.stores.folder import FolderBlobStore
from vectorcache_node import CacheNode, open_node
from vectorcache_node.metrics import WarmUpMetrics
from vectorcache_node.warmup import WarmUp, plan_of, warming

NAMES = ["words-node-0", "words-node-1", "words-node-2"]
SHARD = 30_000
"""Bytes of about two chunks."""


@pytest.fixture
def ring_file(tmp_path: Path) -> Path:
    path = tmp_path / "ring.json"
    path.write_bytes(
        msgspec.json.encode({"nodes": NAMES, "virtual_nodes": 1000, "replication": 2, "shard_bytes": SHARD})
    )
    return path


@pytest.fixture
async def node(words: Words, tmp_path: Path) -> AsyncIterator[CacheNode]:
    settings = node_settings(words, tmp_path / "data", "--name", NAMES[0])
    async with open_node(settings, {}) as node:
        yield node


def warm_up_of(node: CacheNode, path: Path, timeout: float = PATIENCE) -> WarmUp:
    return WarmUp(node, path, timeout=timeout, workers=4)


def keys_of(words: Words, place: int, name: str = NAMES[0], names: list[str] = NAMES) -> set[str]:
    """Keys of the chunks of which a node is owner number ``place``."""
    manifests = words.manifests.values()
    return {key for manifest in manifests for key in owned_of(manifest, place, name, names)}


def owned_of(manifest: Manifest, place: int, name: str = NAMES[0], names: list[str] = NAMES) -> set[str]:
    """The same of one collection."""
    ring, shards = HashRing(names, 1000, 2), shards_of(manifest, SHARD)
    owners = [ring.owners(key)[place] for key in shards.keys]
    return {manifest.chunk_key(n) for n, shard in enumerate(shards.of_chunk) if owners[shard] == name}


def layer(node: CacheNode, name: str) -> Any:
    return next(layer for layer in node.layers() if layer.name == name)


async def test_owned_chunks_are_in_memory_when_a_node_is_ready(
    node: CacheNode, words: Words, ring_file: Path
) -> None:
    warm_up = warm_up_of(node, ring_file)
    assert await warm_up.unready() == ["warming up: listing the chunks to load"]
    await warm_up.run()
    assert await warm_up.unready() == []
    owned = keys_of(words, 0) | keys_of(words, 1)
    assert warm_up.planned == warm_up.loaded == len(owned) > 10
    assert set(node.storage.get_cached(owned)) == owned
    assert layer(node, "memory").items == len(owned), "and nothing else"
    await until(lambda: layer(node, "disk").items == len(owned))


async def test_a_node_that_the_file_does_not_name_yet_is_on_the_ring_all_the_same(
    words: Words, tmp_path: Path, ring_file: Path
) -> None:
    settings = node_settings(words, tmp_path / "data", "--name", "words-node-3")
    async with open_node(settings, {}) as node:
        await warm_up_of(node, ring_file).run()
        names = [*NAMES, "words-node-3"]
        owned = keys_of(words, 0, "words-node-3", names) | keys_of(words, 1, "words-node-3", names)
        assert set(node.storage.get_cached(owned)) == owned


async def test_a_restart_reads_the_disk_and_not_the_blobs(
    words: Words, tmp_path: Path, ring_file: Path
) -> None:
    settings = node_settings(words, tmp_path / "data", "--name", NAMES[0])
    for hits in (0, 1):
        async with open_node(settings, {}) as node:
            await warm_up_of(node, ring_file).run()
            owned = len(keys_of(words, 0) | keys_of(words, 1))
            assert (layer(node, "disk").hits, layer(node, "blob").hits) == (owned * hits, owned * (1 - hits))


async def test_chunks_that_do_not_fit_in_memory_are_loaded_to_disk(
    words: Words, tmp_path: Path, ring_file: Path
) -> None:
    async with open_node(node_settings(words, tmp_path / "data", "--name", NAMES[0]), {}) as node:
        storage = node.storage
        manifest = words.manifests["dot"]
        sunk, missing = manifest.chunk_key(0), f"{manifest.chunk_key(0)}-nowhere"
        assert await storage.fill(sunk, manifest.chunks[0].bytes, 1)
        assert not await storage.fill(missing, 1, 1)
        assert storage.get_cached([sunk]) == {}
        assert (layer(node, "disk").items, layer(node, "memory").items) == (1, 0)
        assert await storage.fill(sunk, manifest.chunks[0].bytes, 1)
        assert layer(node, "blob").hits == 1, "it was there"
        assert await storage.get(sunk) is not None
        assert layer(node, "disk").hits == 1


async def test_memory_takes_the_first_replicas_first_and_disk_the_rest(
    node: CacheNode, words: Words, ring_file: Path
) -> None:
    ring = HashRing(NAMES, 1000, 2)
    versions = [await node.versions.open(name, 1) for name in METRICS]
    everything = plan_of(ring, SHARD, NAMES[0], versions, 1e9, 1e9)
    firsts = len(keys_of(words, 0))
    assert {chunk.key for chunk in everything.memory[:firsts]} == keys_of(words, 0)
    assert {chunk.key for chunk in everything.memory[firsts:]} == keys_of(words, 1)
    assert not everything.disk

    some, more = everything.memory[:5], everything.memory[5:9]
    memory = sum(chunk.weight for chunk in some)
    disk = sum(file_weight(chunk.size) for chunk in some + more)
    plan = plan_of(ring, SHARD, NAMES[0], versions, memory, disk)
    assert (plan.memory, plan.disk) == (some, more)
    assert len(plan_of(ring, SHARD, NAMES[0], versions, 0, 0)) == 0


async def test_layers_are_not_filled_to_the_brim(words: Words, tmp_path: Path, ring_file: Path) -> None:
    settings = node_settings(words, tmp_path / "data", "--name", NAMES[0])
    async with open_node(replace(settings, memory=200_000, disk=400_000), {}) as node:
        warm_up = warm_up_of(node, ring_file)
        await warm_up.run()
        owned = keys_of(words, 0) | keys_of(words, 1)
        assert 0 < warm_up.loaded == (warm_up.planned or 0) < len(owned)
        assert layer(node, "memory").items < warm_up.loaded
        await until(lambda: layer(node, "disk").items == warm_up.loaded)
        for name in ("memory", "disk"):
            assert layer(node, name).evictions == 0
            assert layer(node, name).bytes > 0.7 * layer(node, name).capacity_bytes


async def test_codes_of_all_chunks_come_to_memory_that_could_not_hold_a_fifth_of_the_chunks(
    words: Words, tmp_path: Path, ring_file: Path
) -> None:
    blobs = FolderBlobStore(tmp_path / "blobs")
    manifest = (await build(blobs, clustered(6000, 128), codes="2", chunk_bytes=64 << 10)).manifest
    size = sum(chunk.bytes for chunk in manifest.chunks)
    settings = node_settings(words, tmp_path / "data", "--name", NAMES[0])
    settings = replace(settings, blob_url=str(tmp_path / "blobs"), memory=size // 5, disk=2 * size)
    async with open_node(settings, {}) as node:
        ring = HashRing(NAMES, 1000, 2)
        owned = owned_of(manifest, 0) | owned_of(manifest, 1)
        warm_up = warm_up_of(node, ring_file)
        await warm_up.run()
        assert warm_up.loaded == len(owned) > 20
        assert set(node.storage.get_cached(owned)) == owned
        assert (layer(node, "memory").evictions, layer(node, "blob").hits) == (0, len(owned))
        plan = plan_of(ring, SHARD, NAMES[0], [await node.versions.open(NAME, 1)], 1e9, 1e9)
        weights = sum(chunk.weight for chunk in plan.memory)
        assert layer(node, "memory").bytes == pytest.approx(weights, rel=0.02)
    await blobs.close()


CONTENTS = [
    None,
    b"",
    b"{",
    b'{"nodes": 3}',
    b'{"nodes": ["\\ud800"]}',
    b'{"nodes": [""]}',
    b'{"nodes": [], "replication": 0}',
]


@pytest.mark.parametrize("content", CONTENTS)
async def test_without_a_ring_the_node_is_ready_at_once_and_says_why(
    node: CacheNode, ring_file: Path, content: bytes | None
) -> None:
    ring_file.unlink()
    if content is not None:
        ring_file.write_bytes(content)
    warm_up = warm_up_of(node, ring_file)
    with capture_logs() as logs:
        await warm_up.run()
    assert await warm_up.unready() == []
    assert (logs[-1]["event"], logs[-1]["planned"]) == ("warm-up ended", None)
    assert logs[-1]["outcome"] not in ("complete", "failed")


class Slow:
    """Holds up every load until it is let go."""

    def __init__(self, node: CacheNode, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate, self.waiting = asyncio.Event(), 0
        get = node.storage.get

        async def slow(key: str, size: int | None = None) -> Any:
            self.waiting += 1
            await self.gate.wait()
            return await get(key, size)

        monkeypatch.setattr(node.storage, "get", slow)


async def test_readiness_reports_the_progress(
    node: CacheNode, ring_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(node, monkeypatch)
    warm_up = warm_up_of(node, ring_file)
    registry = CollectorRegistry()
    registry.register(WarmUpMetrics(warm_up))
    async with warming(warm_up):
        await until(lambda: slow.waiting == 4)
        assert await warm_up.unready() == [f"warming up: 0 of {warm_up.planned} chunks loaded"]
        assert registry.get_sample_value("vectorcache_node_warmup_chunks") == warm_up.planned
        assert registry.get_sample_value("vectorcache_node_warmup_loaded_chunks") == 0
        assert registry.get_sample_value("vectorcache_node_warmup_done") == 0
        slow.gate.set()
        await until(lambda: warm_up.done)
    assert registry.get_sample_value("vectorcache_node_warmup_loaded_chunks") == warm_up.planned
    assert registry.get_sample_value("vectorcache_node_warmup_done") == 1
    took = registry.get_sample_value("vectorcache_node_warmup_seconds")
    assert took == warm_up.seconds > 0
    assert warm_up.seconds == took, "the time stands still when it is done"


async def test_it_ends_when_its_time_is_over(
    node: CacheNode, ring_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Slow(node, monkeypatch)
    warm_up = warm_up_of(node, ring_file, timeout=0.05)
    with capture_logs() as logs:
        await warm_up.run()
    assert await warm_up.unready() == []
    assert logs[-1]["outcome"] == "timed out"
    assert warm_up.loaded == 0


async def test_it_ends_with_its_block(
    node: CacheNode, ring_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(node, monkeypatch)
    before = asyncio.all_tasks()
    async with warming(warm_up_of(node, ring_file)):
        await until(lambda: slow.waiting == 4)
    await until(lambda: asyncio.all_tasks() <= before)  # the node goes on keeping metadata


@pytest.fixture
def damaged(words: Words, tmp_path: Path) -> Words:
    folder = tmp_path / "damaged"
    shutil.copytree(words.folder, folder)
    return Words(folder, words.vectors, words.manifests)


async def test_corrupt_and_missing_chunks_are_skipped(
    damaged: Words, tmp_path: Path, ring_file: Path
) -> None:
    torn, gone, *_ = sorted(key for key in keys_of(damaged, 0) if key.startswith("dot/"))
    (damaged.folder / torn).write_bytes(b"torn")
    (damaged.folder / gone).unlink()
    (damaged.folder / "cosine/current.json").write_bytes(b'{"version": 9}')
    settings = node_settings(damaged, tmp_path / "data", "--name", NAMES[0])
    async with open_node(settings, {}) as node:
        warm_up = warm_up_of(node, ring_file)
        with capture_logs() as logs:
            await warm_up.run()
        owned = {key for key in keys_of(damaged, 0) | keys_of(damaged, 1) if not key.startswith("cosine/")}
        assert warm_up.planned == len(owned)
        assert warm_up.loaded == len(owned) - 2
        assert set(node.storage.get_cached(owned)) == owned - {torn, gone}
    events = [log["event"] for log in logs]
    assert events[0] == "could not warm collection"
    assert logs[-1]["outcome"] == "complete"


# As a process


async def ready(session: ClientSession, url: str) -> tuple[int, dict[str, Any]]:
    async with session.get(f"{url}/readyz") as response:
        return response.status, await response.json()


async def silent_blob_service() -> asyncio.Server:
    """Takes connections, and never answers."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    return await asyncio.start_server(take, "127.0.0.1", 0)


@pytest.mark.parametrize("timeout", ["30s", "100ms"])
async def test_a_blob_store_that_is_silent_delays_readiness_no_longer_than_the_timeout_nor_the_end(
    ring_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timeout: str
) -> None:
    silent = await silent_blob_service()
    port = silent.sockets[0].getsockname()[1]
    endpoint = f"BlobEndpoint=http://127.0.0.1:{port}/words"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"AccountName=words;AccountKey=d29yZHM=;{endpoint}")
    flags = ["--name", NAMES[0], "--blob-url", "azure://words/words", "--data", str(tmp_path / "data")]
    flags += ["--ring-file", str(ring_file), "--warmup-timeout", timeout, "--drain-delay", "60s"]
    log = tmp_path / "node.log"
    async with silent, server("vectorcache_node", log, *flags) as node, ClientSession() as session:
        if timeout == "100ms":

            async def is_ready() -> bool:
                return (await ready(session, node.url))[0] == 200

            await until_async(is_ready)
            return
        status, report = await ready(session, node.url)
        assert (status, report["reasons"]) == (503, ["warming up: listing the chunks to load"])
        async with session.get(f"{node.url}/healthz") as alive:
            assert alive.status == 200
        node.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):  # of which the process takes most to end; the drain delay is 60 s
            assert await node.ended() == 0


async def test_a_node_warms_up_and_then_is_ready(words: Words, tmp_path: Path, ring_file: Path) -> None:
    settings = node_settings(words, tmp_path / "data", "--ring-file", str(ring_file))
    assert (settings.ring_file, settings.warmup_timeout) == (str(ring_file), 30.0)
    flags = ["--name", NAMES[0], "--blob-url", words.url, "--data", str(tmp_path / "data")]
    log = tmp_path / "node.log"
    async with (
        server("vectorcache_node", log, *flags, "--ring-file", str(ring_file)) as node,
        ClientSession() as session,
    ):

        async def is_ready() -> bool:
            return (await ready(session, node.url))[0] == 200

        await until_async(is_ready)
        async with session.get(f"{node.url}/metrics") as response:
            text = await response.text()
        owned = len(keys_of(words, 0) | keys_of(words, 1))
        assert f"vectorcache_node_warmup_loaded_chunks {float(owned)}" in text
        assert "vectorcache_node_warmup_done 1.0" in text


async def test_without_a_ring_file_there_is_nothing_to_warm(words: Words, tmp_path: Path) -> None:
    async with local_node(node_settings(words, tmp_path / "data")) as (_, client):
        assert (await client.get("/readyz")).status == 200
        assert "warmup" not in await (await client.get("/metrics")).text()
