"""Compare a wanted object with the live one, which may have additional fields."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

from vectorcache_operator import quantity
from vectorcache_operator.kinds import Object
from vectorcache_operator.names import ANNOTATION_APPLIED

_MERGE_KEYS = ("mountPath", "name")
"""The fields by which Kubernetes identifies list entries, in the lists that the operator writes."""

_EXACT = ("selector", "matchLabels", "nodeSelector")
"""Mappings that are compared exactly, because an additional key changes what they select."""

_QUANTITIES = ("requests", "limits")


def stamped(wanted: Object) -> Object:
    """Return a copy that is annotated with the fingerprint of the object."""
    marked = copy.deepcopy(wanted)
    marked["metadata"].setdefault("annotations", {})[ANNOTATION_APPLIED] = fingerprint(wanted)
    return marked


def fingerprint(wanted: Object) -> str:
    """Return a hash of the object, 16 hexadecimal digits."""
    text = json.dumps(wanted, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def first_difference(wanted: Any, live: Any, path: str = "") -> str | None:
    """Return the path of the first wanted value that the live object lacks, or None.

    Additional fields are no difference, except in selectors, because the API server adds defaults and other clients may
    add fields. An empty value equals an absent one, because the API drops it. Quantities are compared by value.
    """
    if _empty(wanted):
        return None if _empty(live) or isinstance(live, type(wanted)) else path or "."
    if isinstance(wanted, dict) and isinstance(live, dict):
        return _in_mapping(wanted, live, path)
    if isinstance(wanted, list) and isinstance(live, list):
        return _in_list(wanted, live, path)
    return None if wanted == live or (_is_quantity(path) and quantity.same(wanted, live)) else path or "."


def _in_mapping(wanted: Object, live: Object, path: str) -> str | None:
    if path.rpartition(".")[2] in _EXACT and live.keys() != wanted.keys():
        return path
    for key, value in wanted.items():
        found = first_difference(value, live.get(key), f"{path}.{key}" if path else key)
        if found is not None:
            return found
    return None


def _in_list(wanted: list[Any], live: list[Any], path: str) -> str | None:
    key = _merge_key(wanted)
    if key is None:
        if len(wanted) != len(live):
            return path
        pairs = list(zip(wanted, live, strict=True))
    else:
        by_key = {one.get(key): one for one in live if isinstance(one, dict)}
        pairs = [(one, by_key.get(one[key])) for one in wanted]
    for place, (left, right) in enumerate(pairs):
        found = first_difference(left, right, f"{path}[{left[key] if key else place}]")
        if found is not None:
            return found
    return None


def _merge_key(wanted: list[Any]) -> str | None:
    """Return the field that identifies the entries, or None if they are compared by position."""
    for key in _MERGE_KEYS:
        if not all(isinstance(one, dict) and key in one for one in wanted):
            continue
        if len({one[key] for one in wanted}) == len(wanted):
            return key
    return None


def _empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


def _is_quantity(path: str) -> bool:
    parts = path.split(".")
    return len(parts) > 1 and parts[-2] in _QUANTITIES
