from __future__ import annotations

import pytest
from tests.support.operator.resources import claim, facts, resource

from vectorcache_operator.claims import DiskPlan, plan_disks
from vectorcache_operator.conditions import Reason
from vectorcache_operator.plan.statefulset import stateful_set


def of(size: str) -> dict[str, object]:
    return stateful_set(resource(), facts(disk=size))


def reason(found: DiskPlan) -> Reason | None:
    return found.issue.reason if found.issue else None


def test_without_a_stateful_set() -> None:
    assert plan_disks("10Gi", None, [], None) == DiskPlan("10Gi")


@pytest.mark.parametrize("same", ["10Gi", "10240Mi", "10737418240"])
def test_an_equal_capacity_changes_nothing(same: str) -> None:
    assert plan_disks(same, of("10Gi"), [claim(0, "10Gi"), claim(1, "10Gi")], None) == DiskPlan(same)


def test_growing_patches_bound_claims_and_replaces_the_set() -> None:
    claims = [claim(0, "10Gi"), claim(1, "20Gi"), claim(2, "10Gi", "Pending")]
    found = plan_disks("20Gi", of("10Gi"), claims, None)
    assert [one["metadata"]["name"] for one in found.grow] == ["cache-products-node-0"]
    assert (found.capacity, found.replace, reason(found)) == ("20Gi", True, None)


def test_without_a_stateful_set_the_claims_determine_the_capacity() -> None:
    assert plan_disks("20Gi", None, [claim(0, "20Gi")], None) == DiskPlan("20Gi")
    assert plan_disks("5Gi", None, [claim(0, "20Gi")], None).capacity == "20Gi"


def test_shrinking_is_refused_and_changes_nothing() -> None:
    found = plan_disks("5Gi", of("10Gi"), [claim(0, "10Gi")], None)
    assert (found.capacity, found.grow, found.replace) == ("10Gi", (), False)
    assert reason(found) is Reason.VOLUME_SHRINK_REFUSED


def test_without_volumes_there_is_nothing_to_shrink() -> None:
    assert plan_disks("5Gi", of("10Gi"), [], None) == DiskPlan("5Gi", replace=True)


def test_a_refusal_keeps_the_present_capacity() -> None:
    found = plan_disks("20Gi", of("10Gi"), [claim(0, "10Gi")], "the class does not resize")
    assert (found.capacity, found.grow, found.replace) == ("10Gi", (), False)
    assert reason(found) is Reason.VOLUME_EXPANSION_REFUSED
    assert found.issue is not None
    assert "the class does not resize" in found.issue.message


def test_a_terminating_claim_is_ignored() -> None:
    terminating = claim(0, "10Gi")
    terminating["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    found = plan_disks("5Gi", of("10Gi"), [terminating], None)
    assert (found.capacity, found.grow) == ("5Gi", ())
