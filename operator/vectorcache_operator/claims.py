"""The nodes' volumes, which can grow but never shrink.

The claim template of a StatefulSet is immutable. Therefore:

1. The claims are patched to the new capacity.
2. The StatefulSet is deleted with the policy Orphan, so that its pods keep running.
3. A later pass creates it again with the new template, and it adopts the pods.

The process can be interrupted at any point, because the claims record the present capacity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vectorcache_operator import quantity
from vectorcache_operator.conditions import Issue, Reason
from vectorcache_operator.kinds import Object, is_terminating


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """The changes that the volumes need.

    Attributes:
        capacity: capacity of a volume in the StatefulSet's claim template.
        grow: claims to patch to that capacity before the StatefulSet is replaced.
        replace: whether the StatefulSet must be replaced because its template has another capacity.
        issue: reason why the capacity differs from the one in the spec, or None.
    """

    capacity: str
    grow: tuple[Object, ...] = ()
    replace: bool = False
    issue: Issue | None = None


def plan_disks(
    wanted: str, stateful_set: Object | None, claims: Sequence[Object], refusal: str | None
) -> DiskPlan:
    """Plan the volumes. ``refusal`` is the API's message if it refused to let a claim grow to ``wanted``, else None."""
    template = _template_size(stateful_set) if stateful_set else None
    present = [_requested(claim) for claim in claims if not is_terminating(claim)]
    largest = max(present, key=quantity.size, default=None)
    if largest is not None and quantity.size(wanted) < quantity.size(largest):
        text = f"volumes cannot shrink from {largest} to nodes.disk.capacity {wanted}"
        issue = Issue(Reason.VOLUME_SHRINK_REFUSED, text)
        return DiskPlan(largest, replace=_differs(template, largest), issue=issue)
    if refusal is not None:
        text = f"volumes cannot grow to nodes.disk.capacity {wanted}: {refusal}"
        issue = Issue(Reason.VOLUME_EXPANSION_REFUSED, text)
        return DiskPlan(template or largest or wanted, issue=issue)
    small = tuple(claim for claim in claims if _can_grow(claim, wanted))
    return DiskPlan(wanted, grow=small, replace=_differs(template, wanted))


def _can_grow(claim: Object, wanted: str) -> bool:
    """Return whether a claim is too small and can be patched. Only bound claims can be."""
    bound = claim.get("status", {}).get("phase") == "Bound" and not is_terminating(claim)
    return bound and quantity.size(_requested(claim)) < quantity.size(wanted)


def _differs(template: str | None, wanted: str) -> bool:
    return template is not None and not quantity.same(template, wanted)


def _template_size(stateful_set: Object) -> str:
    size: str = stateful_set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
    return size


def _requested(claim: Object) -> str:
    size: str = claim["spec"]["resources"]["requests"]["storage"]
    return size
