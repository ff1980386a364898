from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.support.operator.resources import FULL, SMALL, facts, live, resource

from vectorcache_operator.diff import fingerprint, first_difference, stamped
from vectorcache_operator.plan import plan

OBJECTS = [
    *plan(resource(SMALL), facts()),
    *plan(resource(FULL), facts(disk="40Gi", service_monitors=True)),
]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": []}, {}),
        ({"a": {}}, {"a": {"defaulted": 1}}),
        ({"a": None}, {}),
        ({"requests": {"cpu": "0.001"}}, {"requests": {"cpu": "1m"}}),
        ({"limits": {"memory": "1.5Gi"}}, {"limits": {"memory": "1536Mi"}}),
        ([{"name": "a", "v": 1}], [{"name": "b"}, {"name": "a", "v": 1, "w": 2}]),
        ([{"port": 1}], [{"port": 1, "protocol": "TCP"}]),
        ({"selector": {"a": "b"}}, {"selector": {"a": "b"}}),
    ],
)
def test_no_difference(wanted: Any, found: Any) -> None:
    assert first_difference(wanted, found) is None


@pytest.mark.parametrize(
    ("wanted", "found", "where"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b"),
        ({"a": {"b": 1}}, {"a": {}}, "a.b"),
        ({"a": 1}, {}, "a"),
        ({"value": "1000m"}, {"value": "1"}, "value"),
        ({"requests": {"cpu": "2m"}}, {"requests": {"cpu": "1m"}}, "requests.cpu"),
        ({"c": [{"name": "a"}]}, {"c": [{"name": "b"}]}, "c[a]"),
        ({"c": [{"name": "a", "v": 1}]}, {"c": [{"name": "a", "v": 2}]}, "c[a].v"),
        ({"c": [1, 2]}, {"c": [2, 1]}, "c[0]"),
        ({"c": [1]}, {"c": [1, 2]}, "c"),
        ({"c": [{"key": "x"}, {"key": "x"}]}, {"c": [{"key": "x"}]}, "c"),
        ({"selector": {"a": "b"}}, {"selector": {"a": "b", "c": "d"}}, "selector"),
        ({"a": {}}, {"a": "text"}, "a"),
        ({"a": True}, {"a": False}, "a"),
    ],
)
def test_first_difference(wanted: Any, found: Any, where: str) -> None:
    assert first_difference(wanted, found) == where


@pytest.mark.parametrize("wanted", OBJECTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_every_changed_leaf_is_found(wanted: Any) -> None:
    """Change and remove every leaf, one at a time."""
    assert first_difference(wanted, live(wanted)) is None
    leaves = list(paths(wanted))
    assert leaves
    for path in leaves:
        for change in ("other", None):
            found = live(wanted)
            set_at(found, path, change)
            assert first_difference(wanted, found) is not None, path


def test_the_fingerprint_does_not_include_its_annotation() -> None:
    wanted = OBJECTS[0]
    before = copy.deepcopy(wanted)
    marked = stamped(wanted)
    assert wanted == before
    assert marked["metadata"]["annotations"]["vectorcache.io/applied"] == fingerprint(wanted)
    assert fingerprint(before) == fingerprint(wanted)
    assert fingerprint(wanted | {"data": {}}) != fingerprint(wanted)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Any:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from paths(inner, (*path, key))
    elif isinstance(value, list) and value:
        for place, inner in enumerate(value):
            yield from paths(inner, (*path, place))
    elif value not in ({}, [], "", None):
        yield path


def set_at(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for part in path[:-1]:
        value = value[part]
    value[path[-1]] = new
