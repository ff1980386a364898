"""LRU compared with cachetools.LRUCache: nanoseconds per operation in one run, best of several rounds."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from cachetools import LRUCache

from vectorcache.lru import LRU

VALUE = b"v"


class Cache(Protocol):
    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, value: bytes) -> object: ...


class Cachetools(LRUCache[str, bytes]):
    """The cache to compare with. ``put`` is the function that ``cache[key] = value`` calls."""

    put = LRUCache.__setitem__


def make_caches(items: int) -> dict[str, Callable[[], Cache]]:
    return {
        "LRU, items": lambda: LRU[str, bytes](max_items=items),
        "cachetools, items": lambda: Cachetools(items),
        "LRU, bytes": lambda: LRU[str, bytes](max_bytes=items * len(VALUE), weigh=len),
        "cachetools, bytes": lambda: Cachetools(items * len(VALUE), getsizeof=len),
    }


def workloads(items: int) -> dict[str, Callable[[Cache], int]]:
    """Return workloads for a cache filled with the first ``items`` keys. Each returns its number of operations."""
    keys = [f"collection/v7/chunks/{i:06d}.arrow" for i in range(3 * items)]
    rng = random.Random(1)
    skewed = [keys[min(int(rng.paretovariate(0.7)), len(keys)) - 1] for _ in range(4 * items)]

    def hit(cache: Cache) -> int:
        for key in keys[:items]:
            cache.get(key)
        return items

    def miss(cache: Cache) -> int:
        for key in keys[items:]:
            cache.get(key)
        return 2 * items

    def replace(cache: Cache) -> int:
        for key in keys[:items]:
            cache.put(key, VALUE)
        return items

    def evict(cache: Cache) -> int:
        for key in keys[items:]:
            cache.put(key, VALUE)
        return 2 * items

    def zipf(cache: Cache) -> int:  # get, then put on a miss
        for key in skewed:
            if cache.get(key) is None:
                cache.put(key, VALUE)
        return len(skewed)

    return {
        "hit": hit,
        "miss": miss,
        "replace": replace,
        "evict": evict,
        "zipf": zipf,
    }


def nanoseconds(make: Callable[[], Cache], work: Callable[[Cache], int], fill: Sequence[str]) -> float:
    cache = make()
    for key in fill:
        cache.put(key, VALUE)
    start = time.perf_counter_ns()
    operations = work(cache)
    return (time.perf_counter_ns() - start) / operations


def measure(items: int, rounds: int) -> dict[str, dict[str, float]]:
    fill = [f"collection/v7/chunks/{i:06d}.arrow" for i in range(items)]
    best: dict[str, dict[str, float]] = {}
    works = workloads(items)
    for _ in range(rounds):  # the caches alternate, so that a slowdown affects all of them
        for cache, make in make_caches(items).items():
            row = best.setdefault(cache, {})
            for name, work in works.items():
                row[name] = min(row.get(name, float("inf")), nanoseconds(make, work, fill))
    return best


def print_table(items: int, results: dict[str, dict[str, float]]) -> None:
    names = list(next(iter(results.values())))
    print(f"ns per operation, {items} items")
    print(f"{'':22}" + "".join(f"{name:>10}" for name in names))
    for cache, row in results.items():
        print(f"{cache:22}" + "".join(f"{row[name]:10.0f}" for name in names))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[100, 10_000], help="capacities to measure")
    parser.add_argument("--rounds", type=int, default=7, help="number of rounds; the best one counts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    arguments = parser.parse_args()
    figures = {items: measure(items, arguments.rounds) for items in arguments.items}
    for items, results in figures.items():
        print_table(items, results)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"ns_per_operation": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
