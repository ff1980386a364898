"""What the Qdrant server of the tests understands of requests; all else is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

PointId: TypeAlias = Annotated[int, msgspec.Meta(ge=0)] | str
Limit: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """JSON that has no other fields than these."""


class Match(Message):
    value: str | int | bool | msgspec.UnsetType = msgspec.UNSET
    any: list[str | int] | msgspec.UnsetType = msgspec.UNSET


class Range(Message):
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


class Condition(Message):
    key: str
    match: Match | None = None
    range: Range | None = None


class Filter(Message):
    must: list[Condition]


class VectorParams(Message):
    size: Annotated[int, msgspec.Meta(ge=1, le=65536)]
    distance: Literal["Cosine", "Euclid", "Dot", "Manhattan"]


class CreateCollection(Message):
    vectors: VectorParams


class KeywordIndex(Message, tag_field="type", tag="keyword"):
    is_tenant: bool | None = None


class FloatIndex(Message, tag_field="type", tag="float"):
    pass


class CreateIndex(Message):
    field_name: str
    field_schema: KeywordIndex | FloatIndex


class Point(Message):
    id: PointId
    vector: list[float]
    payload: dict[str, Any] | None = None


class Upsert(Message):
    points: list[Point]


class Retrieve(Message):
    ids: list[PointId]
    with_payload: bool = True
    with_vector: bool = False


class Nearest(Message):
    nearest: list[float]


class SearchParams(Message):
    hnsw_ef: Limit | None = None


class Query(Message):
    query: Nearest
    params: SearchParams | None = None
    limit: Limit = 10
    filter: Filter | None = None
    with_payload: bool = False
    with_vector: bool = False


class Scroll(Message):
    limit: Limit = 10
    offset: PointId | None = None
    filter: Filter | None = None
    with_payload: bool = True
    with_vector: bool = False


class Count(Message):
    filter: Filter | None = None
    exact: bool = True


class Delete(Message):
    points: list[PointId] | None = None
    filter: Filter | None = None


class Refused(Exception):
    """What is asked cannot be done; ``status`` is that of HTTP."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def wrong(reason: str) -> Refused:
    return Refused(400, f"Wrong input: {reason}")
