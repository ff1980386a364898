"""The options of a search: one value that is passed from the API to the scan.

A new option is a field of ``SearchOptions``. Clients, routers and nodes pass the value on unchanged; only the code that
implements an option reads its field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypedDict

import msgspec
import numpy as np

from vectorcache.errors import InvalidInput
from vectorcache.index.manifest import Manifest
from vectorcache.vectors.exact import check_k
from vectorcache.vectors.metric import SMALLEST_NORM, Floats, row_norms

MAX_K = 10_000
MAX_TIMEOUT = 600.0
CALLEE_SHARE = 0.9
"""Share of the remaining time that a caller gives its callee, so that a partial answer arrives in time."""
_INT32 = 2**31 - 1

K = Annotated[int, msgspec.Meta(ge=1, le=MAX_K, description="Number of neighbours to return for each query.")]
Probes = Annotated[
    int,
    msgspec.Meta(ge=1, le=_INT32, description="Number of cells to scan; more cells give a higher recall."),
]
Recall = Annotated[float, msgspec.Meta(gt=0, le=1, description="Recall@10 to reach; it chooses nprobe.")]
Exact = Annotated[
    bool, msgspec.Meta(description="Compare all vectors of the probed cells instead of their codes first.")
]
Timeout = Annotated[float, msgspec.Meta(gt=0, le=MAX_TIMEOUT, description="Timeout in seconds.")]
Version = Annotated[int, msgspec.Meta(ge=1, le=_INT32, description="Number of a version.")]


class SearchOptions(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Options as a caller gives them; None takes the default of the collection or of the server.

    Attributes:
        k: number of neighbours to return for each query.
        nprobe: number of cells to scan; the number of all cells makes the search exact.
        recall: recall@10 to reach. It chooses ``nprobe`` by the build's measurements, so only one of them may be given.
        version: version of the collection; None is the current one.
        payload: whether to return the neighbours' payload.
        exact: whether to compare all vectors of the probed cells, even if the collection has codes.
        timeout: seconds for the whole search. The answer is partial if not all cells have been searched by then.
    """

    k: K | None = None
    nprobe: Probes | None = None
    recall: Recall | None = None
    version: Version | None = None
    payload: bool = False
    exact: Exact = False
    timeout: Timeout | None = None


class SearchKeywords(TypedDict, total=False):
    """The fields of ``SearchOptions`` beside ``k``, as keyword arguments of the ``search`` methods."""

    nprobe: int | None
    recall: float | None
    version: int | None
    payload: bool
    exact: bool
    timeout: float | None


class ResolvedOptions(
    SearchOptions, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Options after ``resolve``, which has checked them and filled in the defaults."""

    k: K
    nprobe: Probes
    timeout: Timeout


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """Defaults and limits of a router or index.

    Attributes:
        k, nprobe, timeout: defaults; an ``nprobe`` of None takes the one that the build chose for its recall target.
        max_k, max_nprobe: largest allowed values; None allows all.
        max_probes: largest sum of ``nprobe`` over all queries of a request.
    """

    k: int = 10
    nprobe: int | None = None
    timeout: float = 30.0
    max_k: int | None = None
    max_nprobe: int | None = None
    max_probes: int | None = None


DEFAULT_LIMITS = SearchLimits()


def resolve(
    options: SearchOptions, queries: Floats, manifest: Manifest, limits: SearchLimits = DEFAULT_LIMITS
) -> ResolvedOptions:
    """Check a search of queries (b, d) against a version and the limits, and fill in the defaults.

    Raises:
        InvalidInput: an option or a query is not allowed.
    """
    check_queries(queries, manifest)
    if options.version not in (None, manifest.version):
        raise InvalidInput("version", options.version, f"{manifest.version}, the version that is open")
    timeout = limits.timeout
    if options.timeout is not None:
        timeout = _number(
            "timeout", options.timeout, MAX_TIMEOUT, f"more than 0 and at most {MAX_TIMEOUT:g} seconds"
        )
    k = check_k(limits.k if options.k is None else options.k, "k", limits.max_k)
    nprobe = _nprobe(options, manifest, limits)
    probes = min(nprobe, manifest.cells) * len(queries)
    if limits.max_probes is not None and probes > limits.max_probes:
        given = f"{min(nprobe, manifest.cells)} for each of {len(queries)} queries"
        raise InvalidInput(
            "nprobe", given, f"at most {limits.max_probes} cells over all queries of a request"
        )
    fields = {name: getattr(options, name) for name in SearchOptions.__struct_fields__}
    fields |= {"k": k, "nprobe": nprobe, "timeout": timeout, "recall": None, "version": manifest.version}
    return ResolvedOptions(**fields | {"exact": options.exact or nprobe >= manifest.cells})


def _number(field: str, value: object, most: float, allowed: str) -> float:
    """Check a number. Options that were not decoded from a message may be of any type."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value <= most:
        raise InvalidInput(field, value, allowed)
    return float(value)


def _nprobe(options: SearchOptions, manifest: Manifest, limits: SearchLimits) -> int:
    """Return the number of cells to probe. It may exceed the number of cells, which means all of them."""
    if options.nprobe is not None and options.recall is not None:
        raise InvalidInput(
            "recall", options.recall, "None together with nprobe, because recall chooses nprobe"
        )
    if options.nprobe is not None:
        return check_k(options.nprobe, "nprobe", limits.max_nprobe)
    if options.recall is not None:
        recall = _number("recall", options.recall, 1.0, "more than 0 and at most 1")
        chosen = manifest.search.nprobe_for(recall)
    else:
        chosen = limits.nprobe or manifest.search.nprobe
    return chosen if limits.max_nprobe is None else min(chosen, limits.max_nprobe)


def check_queries(vectors: Floats, manifest: Manifest) -> None:
    """Raise ``InvalidInput`` if queries (b, d) cannot be searched by the collection's metric."""
    if manifest.metric == "cosine":
        zero = row_norms(vectors) < SMALLEST_NORM
        if zero.any():
            raise InvalidInput(f"vectors[{int(zero.argmax())}]", "a zero vector", "a non-zero vector")
