"""Compare every kind of object with its golden file. A missing file is written, and the test fails once for review."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from tests.support.operator.resources import FULL, SMALL, Object, facts, resource

from vectorcache_operator.kinds import SERVICE_MONITOR, VECTOR_CACHE, kind_of
from vectorcache_operator.plan import plan

GOLDEN = Path(__file__).parents[1] / "golden"

WORKLOAD_IDENTITY = facts(disk="40Gi", credentials=None, service_monitors=True)
PLANS = {
    "small": plan(resource(SMALL), facts()),
    "full": plan(resource(FULL), WORKLOAD_IDENTITY),
}
KINDS = sorted({one["kind"] for objects in PLANS.values() for one in objects})


def of_kind(kind: str) -> str:
    found = {name: [one for one in objects if one["kind"] == kind] for name, objects in PLANS.items()}
    parts = [
        f"# {name}\n{yaml.safe_dump(one, sort_keys=False, width=118)}"
        for name, ones in found.items()
        for one in ones
    ]
    return "---\n".join(parts)


@pytest.mark.parametrize("kind", KINDS)
def test_objects_equal_their_golden_files(kind: str) -> None:
    path, made = GOLDEN / f"{kind.lower()}.yaml", of_kind(kind)
    if not path.exists():
        path.write_text(made)
        pytest.fail(f"{path.name} was missing; it was written now: review it")
    assert made == path.read_text()


def test_every_golden_file_belongs_to_a_kind() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {kind.lower() for kind in KINDS}


@pytest.mark.parametrize("version", ["1.31", "1.34"])
@pytest.mark.parametrize("name", PLANS)
def test_objects_are_valid_for_kubernetes(version: str, name: str) -> None:
    for one in PLANS[name]:
        if kind_of(one) != SERVICE_MONITOR:
            kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("name", PLANS)
def test_all_belong_to_the_resource(name: str) -> None:
    identities = set()
    for one in PLANS[name]:
        (owner,) = one["metadata"]["ownerReferences"]
        assert owner["controller"]
        assert not owner["blockOwnerDeletion"]
        assert owner["kind"] == VECTOR_CACHE.name
        assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == "products"
        identities.add((one["kind"], one["metadata"]["name"]))
    assert len(identities) == len(PLANS[name])


@pytest.mark.parametrize("name", PLANS)
def test_pods_are_restricted(name: str) -> None:
    for template in templates(PLANS[name]):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"]
            assert not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"]
            assert container["resources"]["limits"]


@pytest.mark.parametrize("name", PLANS)
def test_selectors_select_the_templates(name: str) -> None:
    for one in PLANS[name]:
        if one["kind"] in ("StatefulSet", "Deployment"):
            wanted = one["spec"]["selector"]["matchLabels"]
            assert wanted.items() <= one["spec"]["template"]["metadata"]["labels"].items()


def test_the_ring_is_written_before_the_nodes() -> None:
    kinds = [one["kind"] for one in PLANS["small"]]
    assert kinds.index("ConfigMap") < kinds.index("StatefulSet")


def test_the_number_of_nodes_does_not_change_templates() -> None:
    more = plan(resource(SMALL | {"nodes": {"replicas": 9}}), facts())
    assert templates(more) == templates(PLANS["small"])


def test_credentials_roll_both() -> None:
    rotated = plan(resource(SMALL), facts(credentials="0000"))
    for before, after in zip(templates(PLANS["small"]), templates(rotated), strict=True):
        assert before != after
        assert before["spec"] == after["spec"]


def test_without_allow_from_routers_have_no_policy() -> None:
    assert [one["metadata"]["name"] for one in PLANS["small"] if one["kind"] == "NetworkPolicy"] == [
        "products-node"
    ]


def templates(objects: list[Object]) -> list[Object]:
    return [one["spec"]["template"] for one in objects if "template" in one.get("spec", {})]
