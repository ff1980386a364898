"""Types and schema agree: fields, defaults, and rejected values."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
import yaml
from tests.support.operator.resources import FULL, SMALL, Object, obj

from vectorcache_operator.names import Key
from vectorcache_operator.spec import InvalidSpec, Spec, decode

ROOT = Path(__file__).parents[3]
CRD: Object = yaml.safe_load((ROOT / "manifests/crd/vectorcaches.yaml").read_text())
SCHEMA: Object = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def struct_of(hint: Any) -> Any:
    """Return the struct in a type, or None."""
    candidates = [hint, *get_args(hint)]
    return next(
        (one for one in candidates if isinstance(one, type) and issubclass(one, msgspec.Struct)), None
    )


def fields_of(struct: Any, path: str = "") -> set[str]:
    hints, found = get_type_hints(struct), set()
    for field in msgspec.structs.fields(struct):
        where, inner = f"{path}.{field.encode_name}", struct_of(hints[field.name])
        found |= fields_of(inner, where) if inner else {where}
    return found


def properties_of(schema: Object, path: str = "") -> set[str]:
    found: set[str] = set()
    for name, part in schema.get("properties", {}).items():
        where, inner = f"{path}.{name}", part.get("items", part)
        opaque = "x-kubernetes-preserve-unknown-fields" in inner or name in (
            "resources",
            "tolerations",
            "topologySpreadConstraints",
            "allowFrom",
        )
        below = set() if opaque else properties_of(inner, where)
        found |= below or {where}
    return found


def test_types_have_the_fields_of_the_schema() -> None:
    assert fields_of(Spec) == properties_of(SCHEMA)


def defaulted(schema: Object, value: Object) -> Object:
    """Return the value with the defaults that the API server adds."""
    filled = dict(value)
    for name, part in schema.get("properties", {}).items():
        if name not in filled and "default" in part:
            filled[name] = part["default"]
        if isinstance(filled.get(name), dict) and "properties" in part:
            filled[name] = defaulted(part, filled[name])
    return filled


def test_defaults_are_those_of_the_schema() -> None:
    bare = {"blob": {"url": "azure://a/b"}}
    assert msgspec.convert(bare, Spec) == msgspec.convert(defaulted(SCHEMA, bare), Spec)


def test_a_resource_is_decoded_completely() -> None:
    found = decode(obj(spec=FULL))
    assert found.key == Key("shop", "products")
    assert found.generation == 7
    assert found.spec.nodes.scheduling.priority_class_name == "high"
    assert found.spec.blob.workload_identity is not None
    assert found.spec.disk == "40Gi"


def test_the_disk_is_ten_times_the_memory() -> None:
    assert decode(obj(spec=SMALL | {"nodes": {"memory": {"capacity": "1.5Gi"}}})).spec.disk == "15Gi"


def test_a_newer_schema_is_no_error() -> None:
    decode(obj(spec=SMALL | {"later": {"a": 1}}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blob": {}}, "missing required field `url`"),
        ({"blob": None}, "Expected `object`, got `null` - at `$.blob`"),
        ({"nodes": {"replicas": "3"}}, "Expected `int`, got `str` - at `$.nodes.replicas`"),
        ({"nodes": {"memory": {"capacity": "4GB"}}}, "nodes.memory.capacity: '4GB' is not a quantity"),
        ({"nodes": {"disk": {"capacity": "1Mi"}}}, "nodes.disk.capacity 1Mi must be at least"),
        ({"nodes": {"replicas": 1}}, "ring.replication 2 must not exceed nodes.replicas 1"),
        ({"nodes": {"replicas": -1}, "ring": {"replication": -2}}, "must be 0 or more"),
        ({"ring": {"virtualNodes": 0}}, "1 or more"),
        ({"deletionPolicy": "Keep"}, "Invalid enum value 'Keep'"),
        (
            {"blob": {"url": "azure://a/b", "credentialsSecret": "a", "workloadIdentity": {"clientId": "b"}}},
            "not both",
        ),
    ],
)
def test_an_invalid_spec_has_a_message(change: Object, message: str) -> None:
    with pytest.raises(InvalidSpec) as invalid:
        decode(obj(spec=SMALL | change))
    assert message in str(invalid.value)


def test_a_resource_without_a_spec() -> None:
    with pytest.raises(InvalidSpec, match="blob"):
        decode(obj(spec={}))
