"""A process of its own that increments a counter blob by compare-and-swap: FOLDER TIMES."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from vectorcache.errors import Conflict
from vectorcache.stores import BlobStore, FolderBlobStore

MAX_TRIES = 10_000
KEY = "counter.json"


async def increment(store: BlobStore, key: str = KEY) -> None:
    for _ in range(MAX_TRIES):
        blob = await store.get(key)
        try:
            await store.put(key, b"%d" % (int(blob.data) + 1), if_match=blob.etag)
        except Conflict:
            continue
        return
    raise AssertionError(f"no increment in {MAX_TRIES} tries")


async def main(folder: Path, times: int) -> None:
    async with FolderBlobStore(folder, threads=1) as store:
        for _ in range(times):
            await increment(store)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
