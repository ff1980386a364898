"""Queries of cells, with options that are given by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vectorcache.index.options import ResolvedOptions
from vectorcache.index.query import CellQuery, Cells
from vectorcache.vectors.metric import Floats


def search_options(k: int = 10, nprobe: int = 1, timeout: float = 30.0, **more: Any) -> ResolvedOptions:
    return ResolvedOptions(k=k, nprobe=nprobe, timeout=timeout, **more)


def cell_query(
    collection: str, version: int, vectors: Floats, cells: Sequence[Cells], k: int, **options: Any
) -> CellQuery:
    return CellQuery(collection, version, vectors, cells, search_options(k, **options))
