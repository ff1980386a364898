"""Collections of Qdrant's engine, and requests in its terms."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from tests.support.llm.qdrant_messages import (
    Condition,
    Count,
    CreateCollection,
    CreateIndex,
    Delete,
    Filter,
    FloatIndex,
    KeywordIndex,
    Match,
    Point,
    Query,
    Refused,
    Retrieve,
    Scroll,
    Upsert,
    VectorParams,
    wrong,
)

PACKAGE = "qdrant_edge"


class Terms:
    """What is asked, in the engine's own objects: it is the engine that filters."""

    def __init__(self, edge: Any) -> None:
        self._edge = edge

    def filter(self, asked: Filter | None) -> Any:
        if asked is None:
            return None
        return self._edge.Filter(must=[self._condition(one) for one in asked.must])

    def _condition(self, asked: Condition) -> Any:
        if asked.match is not None and asked.range is None:
            return self._edge.FieldCondition(asked.key, match=self._match(asked.match))
        if asked.range is None or asked.match is not None:
            raise wrong(f"{asked.key}: either match or range is understood")
        bounds = {
            name: bound for name, bound in msgspec.structs.asdict(asked.range).items() if bound is not None
        }
        if not bounds:
            raise wrong(f"{asked.key}: a range without a bound")
        return self._edge.FieldCondition(asked.key, range=self._edge.RangeFloat(**bounds))

    def _match(self, asked: Match) -> Any:
        if (asked.value is msgspec.UNSET) == (asked.any is msgspec.UNSET):
            raise wrong("match: either value or any is understood")
        if asked.any is msgspec.UNSET:
            return self._edge.MatchValue(asked.value)
        return self._edge.MatchAny(asked.any)

    def schema(self, asked: KeywordIndex | FloatIndex) -> Any:
        if isinstance(asked, KeywordIndex):
            return self._edge.KeywordIndexParams(is_tenant=asked.is_tenant)
        return self._edge.FloatIndexParams()

    def config(self, asked: VectorParams, graph_kb: int | None) -> Any:
        edge, more = self._edge, {}
        if graph_kb is not None:  # what an operator sets for a whole server
            more["hnsw_config"] = edge.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=graph_kb)
            more["optimizers"] = edge.EdgeOptimizersConfig(indexing_threshold=graph_kb)
        vectors = edge.EdgeVectorParams(size=asked.size, distance=getattr(edge.Distance, asked.distance))
        return edge.EdgeConfig(vectors=vectors, **more)

    def point(self, asked: Point) -> Any:
        return self._edge.Point(asked.id, asked.vector, asked.payload or {})


class Collections:
    """Shards by name. Its calls are made one after the other."""

    def __init__(self, folder: Path, graph_kb: int | None) -> None:
        self._edge: Any = importlib.import_module(PACKAGE)
        self._terms = Terms(self._edge)
        self._folder = folder / "collections"
        self._folder.mkdir(exist_ok=True)
        self._graph_kb = graph_kb
        self._shards = {one.name: self._edge.EdgeShard.load(str(one)) for one in self._folder.iterdir()}

    def names(self) -> Any:
        return {"collections": [{"name": name} for name in sorted(self._shards)]}

    def exists(self, name: str) -> Any:
        return {"exists": name in self._shards}

    def create(self, name: str, asked: CreateCollection) -> Any:
        if name in self._shards:
            raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", name):  # it names a folder
            raise wrong(f"collection name {name!r}")
        path = self._folder / name
        path.mkdir()
        config = self._terms.config(asked.vectors, self._graph_kb)
        self._shards[name] = self._edge.EdgeShard.create(str(path), config)
        return True

    def drop(self, name: str) -> Any:
        shard = self._shards.pop(name, None)
        if shard is not None:
            shard.close()
            shutil.rmtree(self._folder / name)
        return shard is not None

    def describe(self, name: str) -> Any:
        info = self._shard(name).info()
        return {
            "status": "green",
            "optimizer_status": "ok",
            "points_count": info.points_count,
            "indexed_vectors_count": info.indexed_vectors_count,
            "segments_count": info.segments_count,
            "config": {  # of which nobody asks; the client wants it there
                "params": {},
                "hnsw_config": {
                    "m": 16,
                    "ef_construct": 100,
                    "full_scan_threshold": self._graph_kb or 10_000,
                },
                "optimizer_config": {"default_segment_number": 0, "flush_interval_sec": 5},
            },
            "payload_schema": {field: _schema(one) for field, one in info.payload_schema.items()},
        }

    def create_index(self, name: str, asked: CreateIndex) -> Any:
        schema = self._terms.schema(asked.field_schema)
        return self._update(name, self._edge.UpdateOperation.create_field_index(asked.field_name, schema))

    def upsert(self, name: str, asked: Upsert) -> Any:
        points = [self._terms.point(one) for one in asked.points]
        return self._update(name, self._edge.UpdateOperation.upsert_points(points))

    def delete(self, name: str, asked: Delete) -> Any:
        if (asked.points is None) == (asked.filter is None):
            raise wrong("either points or filter is understood")
        if asked.points is not None:
            return self._update(name, self._edge.UpdateOperation.delete_points(asked.points))
        matching = self._terms.filter(asked.filter)
        return self._update(name, self._edge.UpdateOperation.delete_points_by_filter(matching))

    def retrieve(self, name: str, asked: Retrieve) -> Any:
        found = self._shard(name).retrieve(asked.ids, asked.with_payload, asked.with_vector)
        return _points(found, asked)

    def query(self, name: str, asked: Query) -> Any:
        request = self._edge.QueryRequest(
            limit=asked.limit,
            query=self._edge.Query.Nearest(asked.query.nearest),
            filter=self._terms.filter(asked.filter),
            with_payload=asked.with_payload,
            with_vector=asked.with_vector,
            params=self._edge.SearchParams(hnsw_ef=asked.params.hnsw_ef if asked.params else None),
        )
        found = self._shard(name).query(request)
        scores = [{"score": one.score, "version": one.version} for one in found]
        return {"points": [a | b for a, b in zip(_points(found, asked), scores, strict=True)]}

    def scroll(self, name: str, asked: Scroll) -> Any:
        request = self._edge.ScrollRequest(
            offset=asked.offset,
            limit=asked.limit,
            filter=self._terms.filter(asked.filter),
            with_payload=asked.with_payload,
            with_vector=asked.with_vector,
        )
        found, following = self._shard(name).scroll(request)
        return {"points": _points(found, asked), "next_page_offset": _plain(following)}

    def count(self, name: str, asked: Count) -> Any:
        request = self._edge.CountRequest(exact=asked.exact, filter=self._terms.filter(asked.filter))
        return {"count": self._shard(name).count(request)}

    def _shard(self, name: str) -> Any:
        try:
            return self._shards[name]
        except KeyError:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!") from None

    def _update(self, name: str, operation: Any) -> Any:
        shard = self._shard(name)
        shard.update(operation)
        shard.optimize()  # Qdrant does it in the background; so tests know that it is done
        return {"operation_id": 0, "status": "completed"}


def _points(found: Sequence[Any], asked: Retrieve | Query | Scroll) -> list[dict[str, Any]]:
    return [
        {"id": _plain(one.id)}
        | ({"payload": one.payload} if asked.with_payload else {})
        | ({"vector": one.vector} if asked.with_vector else {})
        for one in found
    ]


def _plain(point: Any) -> int | str | None:
    """Numbers stay, UUIDs become text."""
    return point if point is None or isinstance(point, int) else str(point)


def _schema(info: Any) -> dict[str, Any]:
    kind = str(info.data_type).rpartition(".")[2].lower()
    params = {"type": kind} | ({"is_tenant": info.params.is_tenant} if kind == "keyword" else {})
    return {"data_type": kind, "params": params, "points": info.points}
