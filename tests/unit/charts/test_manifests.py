"""The manifests are valid for every Kubernetes that is supported and allow the least; the samples follow the CRD."""

from __future__ import annotations

import dataclasses
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from tests.support.operator.chart import KNOWS_CACHES, MANIFESTS, Object, kustomize, objects, of, render, the

from vectorcache_operator.settings import OperatorSettings
from vectorcache_service.settings import read, variable

KUBERNETES = ("1.29", "1.30", "1.32", "1.34", "1.36")
CUSTOM = {"VectorCache", "ServiceMonitor"}
CRD = yaml.safe_load((MANIFESTS / "crd/vectorcaches.yaml").read_text())
SAMPLES = sorted((MANIFESTS / "samples").glob("*.yaml"))


def everything() -> list[Object]:
    cache = {"create": True, "spec": {"blob": {"url": "azure://account/container"}}}
    full = {"cache": cache, "serviceMonitor": {"create": True}, "watchNamespaces": ["shop"]}
    rendered = [*render(), *render(full, *KNOWS_CACHES)]
    return [*kustomize(), *kustomize(MANIFESTS / "namespaced"), *rendered]


@pytest.fixture(scope="module")
def all_objects() -> list[Object]:
    return everything()


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_valid(version: str, all_objects: list[Object]) -> None:
    known = [each for each in all_objects if each["kind"] not in CUSTOM]
    assert len(known) > 30
    for one in known:
        assert kubernetes_validate.validate(one, version, strict=True) == version


def test_the_namespace_only_lets_restricted_pods_in() -> None:
    labels = the("Namespace", kustomize())["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_a_role_allows_what_the_cluster_role_allows_in_a_namespace() -> None:
    cluster = next(
        each for each in of("ClusterRole", kustomize()) if each["metadata"]["name"] == "vectorcache-operator"
    )
    role = the("Role", kustomize(MANIFESTS / "namespaced"))
    of_the_cluster = [rule for rule in cluster["rules"] if rule not in role["rules"]]
    assert [rule["resources"] for rule in of_the_cluster] == [["customresourcedefinitions"]]
    assert [rule for rule in cluster["rules"] if rule not in of_the_cluster] == role["rules"]


def test_the_namespaced_operator_needs_nothing_of_the_cluster() -> None:
    for one in kustomize(MANIFESTS / "namespaced"):
        assert one["metadata"]["namespace"] == "vectorcache-system"


def test_an_overlay_moves_the_namespaced_operator(tmp_path: Any) -> None:
    base = MANIFESTS / "namespaced"
    up = "/".join([".."] * len(tmp_path.resolve().parts[1:]))
    overlay = {"resources": [f"{up}{base}"], "namespace": "team-a"}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    moved = kustomize(tmp_path)
    assert {each["metadata"]["namespace"] for each in moved} == {"team-a"}
    assert the("RoleBinding", moved)["subjects"][0]["namespace"] == "team-a"


def test_the_operator_understands_its_environment() -> None:
    (container,) = the("Deployment", kustomize())["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment.keys() <= {variable(field.name) for field in dataclasses.fields(OperatorSettings)}
    settings = read(OperatorSettings, environment)
    assert settings.listen == ("0.0.0.0", container["ports"][0]["containerPort"])
    assert settings.watched == ()
    defaults = OperatorSettings()
    assert (settings.node_image, settings.router_image) == (defaults.node_image, defaults.router_image)


def test_no_two_operators_run_at_a_time() -> None:
    spec = the("Deployment", kustomize())["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


# Samples


def check(value: Any, schema: dict[str, Any], path: str = "") -> None:
    """Every field must be one that the CRD knows: the API server would drop others with a warning only."""
    if (
        isinstance(value, dict)
        and "properties" in schema
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        assert value.keys() <= schema["properties"].keys(), path
        for key, inner in value.items():
            check(inner, schema["properties"][key], f"{path}.{key}")
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            check(item, schema["items"], f"{path}[]")


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_follow_the_crd(path: Any) -> None:
    schema = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    cache = the("VectorCache", objects(path.read_text()))
    jsonschema.Draft7Validator(schema).validate(cache)
    check(cache["spec"], schema["properties"]["spec"])


def test_samples_are_not_installed_with_the_operator() -> None:
    assert not of("VectorCache", kustomize())
    assert {path.stem for path in SAMPLES} == {"minimal", "azure-secret", "workload-identity", "production"}
