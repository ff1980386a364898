"""Common parts of the messages of both APIs: validated fields, their limits, and vectors."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import numpy as np

from vectorcache.errors import InvalidInput
from vectorcache.index.manifest import NAME_PATTERN
from vectorcache.index.query import Id, StoredVector
from vectorcache.vectors.metric import Floats, as_vectors

Vectors = bytes | list[list[float]]
Index = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Name = Annotated[
    str,
    msgspec.Meta(pattern=f"^{NAME_PATTERN}$", description="Name of a collection."),
]


class Message(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base class of requests. An unknown field is an error, because it is a mistake of the client."""


class Reply(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Base class of responses. Clients ignore unknown fields."""


class VectorItem(Reply):
    """A vector of the collection."""

    id: Id
    vector: list[float]
    payload: dict[str, Any]


def vectors_of(value: Vectors, dimension: int, *, most: int, field: str = "vectors") -> Floats:
    """Return queries (b, d) float32 from lists of numbers or raw little-endian float32.

    Raises:
        InvalidInput: no queries or more than ``most``, a wrong dimension or length, NaN or infinity.
    """
    if isinstance(value, bytes):
        if not value or len(value) % (4 * dimension):
            raise InvalidInput(
                field, f"{len(value)} bytes", f"a multiple of {4 * dimension}: float32 x {dimension}"
            )
        vectors = np.frombuffer(value, dtype="<f4").reshape(-1, dimension)
    else:
        for place, vector in enumerate(value):
            if len(vector) != dimension:
                raise InvalidInput(f"{field}[{place}]", f"{len(vector)} numbers", f"{dimension} numbers")
        vectors = np.asarray(value, dtype=np.float64)
    if not 1 <= len(vectors) <= most:
        raise InvalidInput(field, f"{len(vectors)} queries", f"1 to {most} queries in a request")
    return as_vectors(vectors, field, dimension=dimension)


def vector_item(stored: StoredVector) -> VectorItem:
    """Return the message for a vector."""
    return VectorItem(id=stored.id, vector=stored.vector.tolist(), payload=stored.payload)
