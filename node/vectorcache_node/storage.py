"""The cache of a node, which can be warmed below its memory too."""

from __future__ import annotations

from vectorcache.index.chunk import Chunk
from vectorcache.layers.storage import EfficientVectorStorage


class NodeStorage(EfficientVectorStorage[Chunk]):
    """Chunks in memory, over disk, over blob storage."""

    async def warm_to_disk(self, key: str, size: int) -> bool:
        """Bring a chunk to disk, if it is not there, and leave memory as it is; say whether it is there then.

        Chunks never change, so this needs no share in loads of the same chunk; their bounds it keeps.

        Raises:
            VectorCacheError: the blob store failed.
        """
        disk = self._uppers[1]
        if await disk.contains(key):
            return True
        async with self._budget.reserve(size):
            chunk = await self._trust(self._origin.get(key))
            if chunk is not None:
                await disk.put(key, chunk)
        return await disk.contains(key)
