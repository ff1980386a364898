"""Growth of builds and searches with the size of the collection ``large``, by default 400 000 and 4 000 000 vectors.

Each build is a separate process, ``vectorcache build`` of a memory-mapped .npy file. Its memory is sampled: the peak of
resident memory (``VmHWM``), and the largest samples of anonymous memory and of pages of mapped files. The latter are
mostly those of the input, which the system can drop when memory is short. The searches run in this process. They are
warm, use one thread and one query at a time, and alternate between the collections.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from benchmarks import large
from benchmarks.chunk_index import in_turns, searching
from benchmarks.support import Goal, arguments, at_least, at_most, opened, recall, report
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from vectorcache import ChunkIndex, FolderBlobStore

K = 10
COLLECTION = "large"
SAMPLE_SECONDS = 0.02
MOST_PER_VECTOR = 15e-6  # seconds of a build
MOST_MEMORY = 1.3  # peak of a build, relative to the size of the input
MOST_GROWTH = 4.0  # time of a query in the large collection, relative to the small one


@dataclass
class Memory:
    """Peaks of a process's resident memory in bytes."""

    peak: int = 0
    anonymous: int = 0
    mapped: int = 0

    def sample(self, pid: int) -> None:
        """Sample the memory of a process, which may have ended."""
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return
        found = dict(line.split(":", 1) for line in lines)
        if "VmHWM" not in found:  # the process has ended
            return
        peak, anonymous, mapped = (
            int(found[key].split()[0]) << 10 for key in ("VmHWM", "RssAnon", "RssFile")
        )
        self.peak = max(self.peak, peak)
        self.anonymous = max(self.anonymous, anonymous)
        self.mapped = max(self.mapped, mapped)


@dataclass
class Built:
    """One collection in its directory, and the cost of its build."""

    count: int
    folder: Path
    seconds: float
    memory: Memory

    @property
    def vectors(self) -> Path:
        """The file of its vectors."""
        return self.folder / "large.npy"

    @property
    def input_bytes(self) -> int:
        """Size of the vectors in bytes."""
        return 4 * large.DIMENSION * self.count


def build(count: int, folder: Path) -> Built:
    """Build a collection of ``count`` vectors in a separate process."""
    folder.mkdir()
    built = Built(count, folder, 0.0, Memory())
    large.write(built.vectors, count)
    program = Path(sys.executable).parent / "vectorcache"
    command = [program, "build", built.vectors, "--to", folder / "blobs", "--collection", COLLECTION]
    began = time.perf_counter()
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        while process.poll() is None:
            built.memory.sample(process.pid)
            time.sleep(SAMPLE_SECONDS)
    built.seconds = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(
            f"the build ended with {process.returncode}: {(folder / 'output.txt').read_text()}"
        )
    return built


@dataclass
class Searched:
    """The searches of one collection: seconds, recall, and the share of the vectors scanned."""

    times: NDArray[np.float64]
    recall: float
    scanned: float


async def search(
    collections: dict[str, tuple[Built, ChunkIndex]], queries: NDArray[np.float32]
) -> dict[str, Searched]:
    """Search all collections, alternating between them."""
    searches = {name: searching(index, queries) for name, (_, index) in collections.items()}
    recalls, shares = {}, {}
    for name, (built, index) in collections.items():
        _, truth = faiss.knn(queries, np.load(built.vectors, mmap_mode="r"), K)
        answers = [(await index.search(query))[0] for query in queries]
        recalls[name] = recall([set(answer.ids) for answer in answers], truth)
        shares[name] = sum(answer.scanned for answer in answers) / len(queries) / built.count
    with threadpool_limits(1):
        times = await in_turns(searches, len(queries))
    return {name: Searched(np.array(times[name]), recalls[name], shares[name]) for name in collections}


async def measure(small: Built, large_one: Built, queries: NDArray[np.float32]) -> None:
    async with AsyncExitStack() as stack:
        collections = {}
        for name, built in (("small", small), ("large", large_one)):
            blobs = await stack.enter_async_context(FolderBlobStore(built.folder / "blobs"))
            index, _ = await stack.enter_async_context(opened(blobs, COLLECTION, built.folder / "disk"))
            collections[name] = (built, index)
        searched = await search(collections, queries)
    figures: dict[str, object] = {}
    for name, (built, index) in collections.items():
        figures |= {
            f"{name}: {key}": value for key, value in figures_of(built, index, searched[name]).items()
        }
    report("growth", figures, goals(small, large_one, collections["large"][1], searched))


def figures_of(built: Built, index: ChunkIndex, searched: Searched) -> dict[str, object]:
    manifest, memory = index.manifest, built.memory
    return {
        "vectors": f"{built.count} x {large.DIMENSION}, {built.input_bytes / 1e6:.0f} MB",
        "cells, probes, chunks": [manifest.cells, manifest.search.nprobe, len(manifest.chunks)],
        "copies per vector": round(manifest.rows / manifest.vectors, 4),
        "seconds of the build, and of the whole process": [manifest.build_seconds, round(built.seconds, 1)],
        "build seconds per million": round(manifest.build_seconds / built.count * 1e6, 1),
        "peak memory MB: all, anonymous, mapped": [
            round(one / 1e6) for one in (memory.peak, memory.anonymous, memory.mapped)
        ],
        "peak memory / size of the input": round(memory.peak / built.input_bytes, 2),
        "recall@10": round(searched.recall, 4),
        "share of the vectors scanned": round(searched.scanned, 4),
        "p50, p99 us": [round(float(np.percentile(searched.times, at)) * 1e6, 1) for at in (50, 99)],
    }


def goals(small: Built, large_one: Built, index: ChunkIndex, searched: dict[str, Searched]) -> list[Goal]:
    medians = {name: float(np.median(one.times)) for name, one in searched.items()}
    times = large_one.count / small.count
    return [
        at_least("small: recall@10", searched["small"].recall, 0.95),
        at_least("large: recall@10", searched["large"].recall, 0.95),
        at_most(
            f"p50 with {times:g} times the vectors / p50", medians["large"] / medians["small"], MOST_GROWTH
        ),
        at_most(
            "build seconds per million vectors",
            index.manifest.build_seconds / large_one.count * 1e6,
            MOST_PER_VECTOR * 1e6,
        ),
        at_most(
            "peak memory of a build / size of the input",
            large_one.memory.peak / large_one.input_bytes,
            MOST_MEMORY,
        ),
    ]


def main() -> None:
    options = arguments(__doc__, small=400_000, large=4_000_000, queries=500)
    queries = large.queries(options.queries)
    with tempfile.TemporaryDirectory() as folder:
        small = build(options.small, Path(folder, "small"))
        large_one = build(options.large, Path(folder, "large"))
        asyncio.run(measure(small, large_one, queries))


if __name__ == "__main__":
    main()
