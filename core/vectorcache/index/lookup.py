"""The id lookup: it maps an id to the place of its vector, in Arrow tables sharded by a hash of the id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vectorcache.layers.codec import Codec
from vectorcache.stores.checksum import check_by_key
from vectorcache.vectors.arrow import read_ipc, whole, write_ipc

SHARD_IDS = 16_384
"""Approximate number of ids in a shard, which takes a quarter to half a MB."""


class Place(NamedTuple):
    """The place of a vector: the number of its chunk, and its row in the chunk."""

    chunk: int
    position: int


class LookupShard:
    """A shard of the id lookup in memory."""

    def __init__(self, table: pa.Table, key: str = "id lookup") -> None:
        self.table = table
        self._ids = whole(table, "id", key, pa.int64(), pa.string())
        self._chunks = whole(table, "chunk", key, pa.int32()).to_numpy()
        self._positions = whole(table, "position", key, pa.int32()).to_numpy()
        self.nbytes = int(table.nbytes)

    def find(self, ids: Sequence[int | str]) -> list[Place | None]:
        """Return the place of each id, or None if it is not in this shard."""
        # An id of the other type is in no shard. It is looked up as null, which is never found.
        wanted = pa.array([value if self._has_id_type(value) else None for value in ids], type=self._ids.type)
        found = pc.index_in(wanted, value_set=self._ids).to_pylist()
        return [
            None if at is None else Place(int(self._chunks[at]), int(self._positions[at])) for at in found
        ]

    def _has_id_type(self, value: int | str) -> bool:
        if isinstance(value, str):
            return bool(pa.types.is_string(self._ids.type))
        return bool(pa.types.is_integer(self._ids.type)) and -(2**63) <= value < 2**63


class LookupCodec(Codec[LookupShard]):
    """Codec of shards as Arrow IPC files."""

    def encode(self, key: str, value: LookupShard) -> bytes:
        """Return the shard as an Arrow IPC file."""
        return write_ipc(value.table)

    def decode(self, key: str, data: bytes) -> LookupShard:
        """Return the shard in an Arrow IPC file. Raises ``CorruptData`` if it is not a shard."""
        return LookupShard(read_ipc(data, key), key)

    def check_blob(self, key: str, data: bytes) -> None:
        """Compare the data with the checksum in the key. Raises ``CorruptData`` if they differ."""
        check_by_key(key, data)


def shard_count(vectors: int) -> int:
    """Return the number of shards for a number of vectors."""
    return max(1, -(-vectors // SHARD_IDS))


def shard_of(value: int | str, shards: int) -> int:
    """Return the shard of an id: murmur3 of its decimal or UTF-8 form, modulo the number of shards."""
    return int(mmh3.hash64(str(value), signed=False)[0] % shards)


def make_shards(ids: pa.Array, chunks: NDArray[np.int32], positions: NDArray[np.int32]) -> list[LookupShard]:
    """Return the shards for ids (n,) and their places."""
    shards = shard_count(len(ids))
    belongs = np.fromiter(
        (shard_of(value, shards) for value in ids.to_pylist()), dtype=np.int32, count=len(ids)
    )
    table = pa.table({"id": ids, "chunk": chunks, "position": positions})
    return [LookupShard(table.take(pa.array(np.flatnonzero(belongs == shard)))) for shard in range(shards)]
