"""Decisions as tables: the order of writes, their dependencies, reported issues and requeue delays."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.operator.resources import (
    IMAGES,
    NOW,
    SMALL,
    Object,
    claim,
    facts,
    live,
    obj,
    pod,
    resource,
)

import vectorcache_operator
from vectorcache_operator.changes import Apply, Cause, Changes, Delete, Resize, Result, Write
from vectorcache_operator.conditions import Reason, find
from vectorcache_operator.decide import decide, decide_invalid
from vectorcache_operator.diff import stamped
from vectorcache_operator.errors import ApiRefused, NameTaken, VectorCacheError
from vectorcache_operator.kinds import (
    DEPLOYMENT,
    NETWORK_POLICY,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Kind,
    kind_of,
    name_of,
)
from vectorcache_operator.observed import Observed, Refusal, Surroundings
from vectorcache_operator.plan import plan
from vectorcache_operator.routers import RouterView

Objects = dict[tuple[Kind, str], Object]
OPEN: Object = {"blob": {"url": "azure://account/container"}}
SET, ROUTERS = (STATEFUL_SET, "products-node"), (DEPLOYMENT, "products-router")
ACCOUNT = (SERVICE_ACCOUNT, "products-router")
ACCOUNT_UID = "uid-ServiceAccount-products-router"
DELETED = {"deletionTimestamp": "2026-11-21T12:00:00Z"}
BEFORE_WORKLOADS = [
    "created ServiceAccount products-node",
    "created ServiceAccount products-router",
    "created Role products-router",
    "created RoleBinding products-router",
    "created ConfigMap products",
    "created Service products-node",
    "created Service products-router",
    "created NetworkPolicy products-node",
    "created PodDisruptionBudget products-node",
    "created PodDisruptionBudget products-router",
]
NODES, DEPLOYED = "created StatefulSet products-node", "created Deployment products-router"


def observed(objects: Objects | None = None, spec: Object = OPEN, **more: Any) -> Observed:
    """Return an observation of ``products``. Without ``objects``, nothing exists yet."""
    surroundings = Surroundings(IMAGES, "vectorcache-system")
    return Observed(resource(spec), {}, surroundings, objects or {}, **{"routers": RouterView(True)} | more)


def applied(spec: Object = OPEN, disk: str = "10Gi", credentials: str | None = None) -> Objects:
    """Return every object of the resource as the operator applied it."""
    known = facts(disk=disk, credentials=credentials, router_account=ACCOUNT_UID)
    return {(kind_of(one), name_of(one)): live(stamped(one)) for one in plan(resource(spec), known)}


def without(objects: Objects, *names: tuple[Kind, str]) -> Objects:
    return {target: one for target, one in objects.items() if target not in names}


def changed(objects: Objects, target: tuple[Kind, str], change: Callable[[Object], Any]) -> Objects:
    copied = copy.deepcopy(objects[target])
    change(copied)
    return objects | {target: copied}


def terminating(objects: Objects, target: tuple[Kind, str]) -> Objects:
    return changed(objects, target, lambda one: one["metadata"].update(DELETED))


def brief(changes: Changes) -> list[str]:
    return [_brief(write) for write in changes.writes]


def _brief(write: Write) -> str:
    if isinstance(write, Apply):
        return f"{write.cause} {write}{f' {write.difference}' if write.difference else ''}"
    return f"delete {write} {write.propagation}" if isinstance(write, Delete) else f"resize {write}"


def results(changes: Changes, error: VectorCacheError | None = None) -> tuple[Result, ...]:
    return tuple(Result(write, error) for write in changes.writes)


def grown(capacity: str) -> Object:
    return OPEN | {"nodes": {"disk": {"capacity": capacity}}}


FOREIGN_POLICY = {"metadata": {"name": "products-router", "ownerReferences": [{"uid": "another"}]}}

DECISIONS: dict[str, tuple[Observed, list[str]]] = {
    "the Deployment waits for the routers' account": (observed(), [*BEFORE_WORKLOADS, NODES]),
    "with the account's uid the Deployment follows": (observed(without(applied(), ROUTERS)), [DEPLOYED]),
    "a terminating account counts as none": (
        observed(terminating(without(applied(), ROUTERS), ACCOUNT)),
        [],
    ),
    "a new account rolls the routers": (
        observed(changed(applied(), ACCOUNT, lambda one: one["metadata"].update(uid="new"))),
        ["changed Deployment products-router"],
    ),
    "everything is as wanted": (observed(applied()), []),
    "no workload starts without its credentials": (observed(spec=SMALL), BEFORE_WORKLOADS),
    "with credentials the nodes start": (observed(spec=SMALL, credentials="abc"), [*BEFORE_WORKLOADS, NODES]),
    "credentials that disappear later roll nothing": (
        observed(applied(SMALL, credentials="abc"), SMALL),
        [],
    ),
    "while credentials are missing the nodes scale with the last ones": (
        observed(applied(SMALL, credentials="abc"), SMALL | {"nodes": {"replicas": 5}}),
        ["changed ConfigMap products", "changed StatefulSet products-node"],
    ),
    "other credentials roll both": (
        observed(applied(SMALL, credentials="abc"), SMALL, credentials="def"),
        ["changed StatefulSet products-node", "changed Deployment products-router"],
    ),
    "claims are resized first and alone": (
        observed(
            without(applied(), ROUTERS), grown("20Gi"), claims=(claim(0, "10Gi"), claim(1, "10Gi", "Pending"))
        ),
        ["resize PersistentVolumeClaim cache-products-node-0"],
    ),
    "a StatefulSet with another claim template is replaced before the rest": (
        observed(without(applied(), ROUTERS), grown("20Gi"), claims=(claim(0, "20Gi"),)),
        ["delete StatefulSet products-node Orphan", DEPLOYED],
    ),
    "a StatefulSet is not replaced while its credentials are missing": (
        observed(applied(SMALL, credentials="abc"), SMALL | {"nodes": {"disk": {"capacity": "20Gi"}}}),
        [],
    ),
    "a StatefulSet that is being deleted is waited for": (
        observed(terminating(applied(), SET), grown("20Gi")),
        [],
    ),
    "once it is gone it is created again": (observed(without(applied(), SET), grown("20Gi")), [NODES]),
    "volumes do not shrink": (observed(applied(), grown("5Gi"), claims=(claim(0, "10Gi"),)), []),
    "a field that another client changed is repaired": (
        observed(changed(applied(), SET, lambda one: one["spec"].update(replicas=9))),
        ["repaired StatefulSet products-node spec.replicas"],
    ),
    "a policy that is no longer wanted is deleted": (
        observed(applied(OPEN | {"router": {"allowFrom": [{"podSelector": {}}]}})),
        ["delete NetworkPolicy products-router Background"],
    ),
    "a policy of another owner is not": (
        observed(applied() | {(NETWORK_POLICY, "products-router"): FOREIGN_POLICY}),
        [],
    ),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_writes(name: str) -> None:
    given, expected = DECISIONS[name]
    changes = decide(given, NOW)
    assert brief(changes) == expected
    assert (changes.status is None) == bool(expected)


def test_the_same_observation_gives_the_same_changes() -> None:
    for given, _ in DECISIONS.values():
        before = copy.deepcopy(given)
        assert decide(given, NOW) == decide(given, NOW)
        assert given == before


def test_no_object_is_written_twice_in_a_pass() -> None:
    first = decide(observed(), NOW)
    assert decide(observed(results=results(first)), NOW).writes == ()


REFUSED = ApiRefused(403, "Forbidden", "the class does not resize")
RESIZE = (Result(Resize(claim(0, "10Gi"), "20Gi"), REFUSED),)
REFUSAL = Refusal("20Gi", "the class does not resize", NOW)

REPORTS: dict[str, tuple[Observed, list[Reason], float | None]] = {
    "nothing is wrong": (observed(applied()), [], None),
    "the Secret is missing": (observed(applied(SMALL), SMALL), [Reason.CREDENTIALS_MISSING], 5.0),
    "an object is being deleted": (observed(terminating(applied(), (SERVICE, "products-node"))), [], 5.0),
    "the API refused a write": (
        observed(applied(), results=(Result(Apply(applied()[SET], Cause.CHANGED), REFUSED),)),
        [Reason.APPLY_REFUSED],
        60.0,
    ),
    "a name is taken": (
        observed(applied(), results=(Result(Apply(applied()[SET], Cause.CREATED), NameTaken("taken")),)),
        [Reason.NAME_TAKEN],
        60.0,
    ),
    "volumes would shrink": (
        observed(applied(), grown("5Gi"), claims=(claim(0, "10Gi"),)),
        [Reason.VOLUME_SHRINK_REFUSED],
        None,
    ),
    "volumes may not grow": (
        observed(applied(), grown("20Gi"), claims=(claim(0, "10Gi"),), refusal=REFUSAL, results=RESIZE),
        [Reason.VOLUME_EXPANSION_REFUSED],
        60.0,
    ),
    "the StatefulSet is about to be replaced": (
        observed(terminating(applied(), SET), grown("20Gi")),
        [],
        5.0,
    ),
    "a pod has just become unready": (
        observed(applied(), pods=(pod("products-node-0", ready=False),)),
        [],
        240.0,
    ),
    "the earliest of several delays": (
        observed(applied(SMALL), SMALL, pods=(pod("products-node-0", ready=False),)),
        [Reason.CREDENTIALS_MISSING],
        5.0,
    ),
}


@pytest.mark.parametrize("name", REPORTS)
def test_reports(name: str) -> None:
    given, reasons, requeue_after = REPORTS[name]
    changes = decide(given, NOW)
    assert changes.writes == ()
    assert [issue.reason for issue in changes.issues] == reasons
    assert changes.requeue_after == requeue_after
    assert changes.status is not None
    degraded = find(changes.status["conditions"], "Degraded")  # type: ignore[arg-type]
    assert degraded["reason"] == (reasons[0] if reasons else Reason.AS_EXPECTED)


def test_a_refused_expansion_is_retried_after_a_minute() -> None:
    given = observed(applied(), grown("20Gi"), claims=(claim(0, "10Gi"),), refusal=REFUSAL)
    early, late = decide(given, NOW + timedelta(seconds=59)), decide(given, NOW + timedelta(seconds=60))
    assert (brief(early), early.requeue_after) == ([], 1.0)
    assert brief(late) == ["resize PersistentVolumeClaim cache-products-node-0"]


def test_a_refusal_of_another_capacity_does_not_count() -> None:
    given = observed(applied(), grown("30Gi"), claims=(claim(0, "10Gi"),), refusal=REFUSAL)
    assert brief(decide(given, NOW)) == ["resize PersistentVolumeClaim cache-products-node-0"]


def test_events_report_repairs_and_growing_volumes() -> None:
    repaired = Result(Apply(applied()[SET], Cause.REPAIRED, "spec.replicas"))
    resized = Result(Resize(claim(0, "10Gi"), "10Gi"))
    told = decide(observed(applied(), results=(resized, repaired)), NOW).notices
    assert [one.reason for one in told[:2]] == ["VolumesGrow", "Repaired"]
    refused = decide(observed(applied(), results=(resized, replace(resized, error=REFUSED))), NOW).notices
    assert "VolumesGrow" not in [one.reason for one in refused]


def test_an_invalid_spec_writes_only_the_status() -> None:
    changes = decide_invalid(obj(), "spec: no", NOW)
    assert changes.writes == ()
    assert changes.requeue_after is None
    assert changes.status is not None
    assert changes.status["observedGeneration"] == 7
    assert [one.reason for one in changes.notices] == [Reason.INVALID_SPEC]


PACKAGE = Path(vectorcache_operator.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


def calls(path: Path) -> set[str]:
    """Return the methods of ``kube`` that a file calls."""
    found = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    methods = [one for one in found if isinstance(one, ast.Attribute)]
    return {one.attr for one in methods if ast.unparse(one.value).rpartition(".")[2] in ("kube", "_kube")}


def test_only_apply_writes_to_the_api() -> None:
    writes = {"apply", "merge", "create", "delete"}
    assert [path.name for path in SOURCES if calls(path) & writes] == ["apply.py"]
    assert calls(PACKAGE / "apply.py") >= writes


def test_decisions_are_pure() -> None:
    for name in ("decide.py", "changes.py", "observed.py", "claims.py", "status.py"):
        tree = ast.parse((PACKAGE / name).read_text())
        assert not [node for node in ast.walk(tree) if isinstance(node, (ast.Await, ast.AsyncFunctionDef))]
        assert not {"now", "time", "monotonic"} & {
            node.func.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }


def test_nothing_reads_the_environment() -> None:
    assert [
        path.name for path in SOURCES if "environ[" in path.read_text() or "os.env" in path.read_text()
    ] == []
