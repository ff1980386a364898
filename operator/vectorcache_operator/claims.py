"""The nodes' volumes: they grow when asked to, and never shrink.

A StatefulSet's claim templates cannot be changed. So the claims themselves are patched first, and then the
StatefulSet is replaced by one with the new template, while its pods run on: it is deleted and orphans them, and the
next reconcile makes it anew. Whatever happens in between, the claims say what size there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vectorcache_operator import quantity
from vectorcache_operator.conditions import Issue, Reason
from vectorcache_operator.kinds import Object, is_terminating


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """What to do about volumes.

    Attributes:
        capacity: of a volume, as the StatefulSet should have it.
        grow: claims that are to be patched to that capacity first.
        replace: whether the StatefulSet must be replaced, because its template has another capacity.
        issue: why it is not what the spec asks for.
    """

    capacity: str
    grow: tuple[Object, ...] = ()
    replace: bool = False
    issue: Issue | None = None


def plan_disks(
    wanted: str, stateful_set: Object | None, claims: Sequence[Object], refusal: str | None
) -> DiskPlan:
    """Decide from what there is; ``refusal`` is the API's message where it let a claim not grow to ``wanted``."""
    template = _template_size(stateful_set) if stateful_set else None
    present = [_requested(claim) for claim in claims if not is_terminating(claim)]
    largest = max(present, key=quantity.size, default=None)
    if largest is not None and quantity.size(wanted) < quantity.size(largest):
        text = f"nodes.disk.capacity {wanted} is less than the {largest} that volumes have; volumes cannot shrink"
        issue = Issue(Reason.VOLUME_SHRINK_REFUSED, text)
        return DiskPlan(largest, replace=_differs(template, largest), issue=issue)
    if refusal is not None:
        text = f"volumes cannot grow to nodes.disk.capacity {wanted}: {refusal}"
        issue = Issue(Reason.VOLUME_EXPANSION_REFUSED, text)
        return DiskPlan(template or largest or wanted, issue=issue)
    small = tuple(claim for claim in claims if _can_grow(claim, wanted))
    return DiskPlan(wanted, grow=small, replace=_differs(template, wanted))


def _can_grow(claim: Object, wanted: str) -> bool:
    """Whether a claim is smaller and can be patched, which it can once it is bound."""
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
