"""Reads of whole files without blocking the event loop: aiofiles compared with one call in a thread.

These are the figures of docs/decisions/0002-file-io.md. Files are in the page cache, so that only the overhead of the
call differs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiofiles

from vectorcache.stores.threads import DEFAULT_THREADS

Read = Callable[[Path], Awaitable[bytes]]

KIB = 1024
FILES = 64


def read_and_touch(path: Path) -> bytes:
    """Read a file and update its time of use, as DiskFileStore does in one call in a thread."""
    with path.open("rb", buffering=0) as file:
        os.utime(file.fileno())
        return file.readall()


async def with_aiofiles(path: Path) -> bytes:
    async with aiofiles.open(path, "rb", buffering=0) as file:
        data: bytes = await file.readall()
    await asyncio.to_thread(os.utime, path)
    return data


async def with_to_thread(path: Path) -> bytes:
    return await asyncio.to_thread(read_and_touch, path)


def with_pool(pool: ThreadPoolExecutor) -> Read:
    async def read(path: Path) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(pool, read_and_touch, path)

    return read


async def seconds_per_read(read: Read, paths: list[Path], reads: int, concurrent: int) -> float:
    async def reader(first: int) -> None:
        for i in range(first, reads, concurrent):
            await read(paths[i % len(paths)])

    started = time.perf_counter()
    await asyncio.gather(*(reader(first) for first in range(concurrent)))
    return (time.perf_counter() - started) / reads


async def compare(folder: Path, sizes: list[int], concurrency: list[int], reads: int, rounds: int) -> None:
    with ThreadPoolExecutor(DEFAULT_THREADS) as pool:
        ways = {"aiofiles": with_aiofiles, "to_thread": with_to_thread, "pool": with_pool(pool)}
        print(f"{'KiB':>6} {'concurrent':>10}" + "".join(f"{way:>14}" for way in ways) + f"{'ratio':>8}")
        for size in sizes:
            paths = write_files(folder, size)
            for concurrent in concurrency:
                medians = await median_of_rounds(ways, paths, reads, concurrent, rounds)
                cells = "".join(f"{seconds * 1e6:>11.0f} us" for seconds in medians.values())
                ratio = medians["aiofiles"] / medians["pool"]
                print(f"{size // KIB:>6} {concurrent:>10}{cells}{ratio:>8.1f}")


async def median_of_rounds(
    ways: dict[str, Read], paths: list[Path], reads: int, concurrent: int, rounds: int
) -> dict[str, float]:
    """Return the median seconds per read of each way. The ways alternate, so that a slowdown affects all of them."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, read in ways.items():
            seconds[way].append(await seconds_per_read(read, paths, reads, concurrent))
    return {way: statistics.median(values) for way, values in seconds.items()}


def write_files(folder: Path, size: int) -> list[Path]:
    paths = [folder / f"{size}-{i}" for i in range(FILES)]
    for path in paths:
        path.write_bytes(os.urandom(size))
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024], help="file sizes in KiB")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 32], help="reads in flight")
    parser.add_argument("--reads", type=int, default=1000, help="reads per round")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds; the median is printed")
    parser.add_argument("--folder", type=Path, help="directory for the files (a temporary one by default)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        sizes = [size * KIB for size in args.sizes]
        asyncio.run(compare(Path(folder), sizes, args.concurrency, args.reads, args.rounds))


if __name__ == "__main__":
    main()
