"""Decide what to do about a resource: a pure function from an observation to changes, without clock or API.

A pass calls ``decide`` until it returns no more writes:

1. Claims that must grow are patched first, and alone: if the API refuses, the StatefulSet stays as it is.
2. The StatefulSet is deleted if its claim template has another capacity. It is created again by a later pass, after
   its deletion was observed. The other objects are applied in the order of the plan, ServiceAccounts first.
3. The Deployment is applied once the routers' ServiceAccount is observed, because its pod template contains the uid.
4. When nothing is left to write, the status, the Events and the requeue delay are returned.

Every object is written at most once in a pass, so a pass ends even if the API does not store what was applied.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from vectorcache_operator import kinds, names
from vectorcache_operator.changes import Apply, Cause, Changes, Delete, Resize, Result, Write
from vectorcache_operator.claims import DiskPlan, plan_disks
from vectorcache_operator.conditions import Issue, Reason
from vectorcache_operator.diff import fingerprint, first_difference
from vectorcache_operator.errors import NameTaken
from vectorcache_operator.events import Notice, Severity, notices
from vectorcache_operator.kinds import Kind, Object, annotations_of, is_terminating, kind_of, name_of
from vectorcache_operator.observed import Observed
from vectorcache_operator.plan import Facts, plan
from vectorcache_operator.pod_problems import pod_problems
from vectorcache_operator.status import status_of, status_of_invalid

MISSING_SECRET_SECONDS = 5.0
TERMINATING_SECONDS = 5.0
"""Delay before the next pass if an object is being deleted, in case the event of its removal is lost."""
REFUSED_SECONDS = 60.0
"""Delay before a refused write is retried."""

_WORKLOADS = (kinds.STATEFUL_SET, kinds.DEPLOYMENT)


def decide(observed: Observed, now: datetime) -> Changes:
    """Return the next writes, or the status, Events and requeue delay if nothing is left to write."""
    disks = _plan_disks(observed, now)
    wanted = _wanted(observed, disks)
    attempted = {result.write.target for result in observed.results}
    resizes: tuple[Write, ...] = tuple(Resize(claim, disks.capacity) for claim in disks.grow)
    others: tuple[Write, ...] = (
        *_replacements(observed, disks),
        *_applies(observed, wanted),
        *_removals(observed, wanted),
    )
    for writes in (resizes, others):
        left = tuple(write for write in writes if write.target not in attempted)
        if left:
            return Changes(left)
    return _report(observed, disks, wanted, now)


def decide_invalid(obj: Object, message: str, now: datetime) -> Changes:
    """Return the changes for a resource whose spec cannot be used: its objects stay, and the status says why."""
    before = obj.get("status") or {}
    status = status_of_invalid(obj["metadata"].get("generation", 1), message, before, now)
    return Changes(status=status, notices=tuple(notices(before, status)))


def _plan_disks(observed: Observed, now: datetime) -> DiskPlan:
    wanted, refusal = observed.resource.spec.disk, observed.refusal
    refused = refusal is not None and refusal.capacity == wanted and _retry_in(observed, now) > 0
    message = refusal.message if refusal is not None and refused else None
    return plan_disks(wanted, observed.stateful_set, observed.claims, message)


def _retry_in(observed: Observed, now: datetime) -> float:
    """Return the seconds until claims may be patched again after a refusal."""
    if observed.refusal is None:
        return 0.0
    return REFUSED_SECONDS - (now - observed.refusal.at).total_seconds()


def _wanted(observed: Observed, disks: DiskPlan) -> list[Object]:
    """Return the objects that can be applied now, in their order; the others wait."""
    credentials, account = _credentials(observed), _router_account(observed)
    surroundings = observed.surroundings
    facts = Facts(
        images=surroundings.images,
        disk=disks.capacity,
        credentials=credentials,
        router_account=account,
        operator_namespace=surroundings.operator_namespace,
        service_monitors=surroundings.service_monitors,
    )
    waiting: set[Kind] = set()
    if credentials is None and _needs_credentials(observed):
        waiting |= set(_WORKLOADS)
    if disks.replace:
        waiting.add(kinds.STATEFUL_SET)
    if account is None:
        waiting.add(kinds.DEPLOYMENT)
    return [one for one in plan(observed.resource, facts) if kind_of(one) not in waiting]


def _needs_credentials(observed: Observed) -> bool:
    return observed.resource.spec.blob.credentials_secret is not None


def _credentials(observed: Observed) -> str | None:
    """Return the hash of the credentials. While the Secret is missing, the last hash stays, so that no pod restarts."""
    if not _needs_credentials(observed):
        return None
    live = observed.stateful_set
    if observed.credentials is not None or live is None:
        return observed.credentials
    annotations = live["spec"]["template"]["metadata"].get("annotations", {})
    last: str | None = annotations.get(names.ANNOTATION_CREDENTIALS)
    return last


def _router_account(observed: Observed) -> str | None:
    account = observed.router_account
    return None if account is None or is_terminating(account) else str(account["metadata"]["uid"])


def _replacements(observed: Observed, disks: DiskPlan) -> Iterator[Write]:
    """Yield the deletion of a StatefulSet whose claim template has another capacity. Its pods keep running.

    It is not deleted while the credentials are missing, because it could not be created again.
    """
    live = observed.stateful_set
    if disks.replace and not _is_secret_missing(observed) and live is not None and not is_terminating(live):
        yield Delete(kinds.STATEFUL_SET, live, "Orphan")


def _applies(observed: Observed, wanted: list[Object]) -> Iterator[Write]:
    """Yield the objects that differ from the live ones. An object that is being deleted is created again later."""
    for one in wanted:
        live = observed.objects.get((kind_of(one), name_of(one)))
        if live is None:
            yield Apply(one, Cause.CREATED)
        elif is_terminating(live):
            continue
        elif annotations_of(live).get(names.ANNOTATION_APPLIED) != fingerprint(one):
            yield Apply(one, Cause.CHANGED)
        elif (difference := first_difference(one, live)) is not None:
            yield Apply(one, Cause.REPAIRED, difference)


def _removals(observed: Observed, wanted: list[Object]) -> Iterator[Write]:
    """Yield NetworkPolicies that are no longer wanted. All other objects exist as long as their resource."""
    keep = {name_of(one) for one in wanted if kind_of(one) == kinds.NETWORK_POLICY}
    for (kind, name), live in observed.objects.items():
        if kind != kinds.NETWORK_POLICY or name in keep or is_terminating(live):
            continue
        owners = live["metadata"].get("ownerReferences") or ()
        if any(one.get("uid") == observed.resource.uid for one in owners):
            yield Delete(kind, live)


def _report(observed: Observed, disks: DiskPlan, wanted: list[Object], now: datetime) -> Changes:
    pods = pod_problems(observed.pods, now)
    issues = [*_issues(observed, disks), *pods.issues]
    status = status_of(observed.resource, observed.workloads, observed.ring, issues, observed.status, now)
    delays = [pods.requeue_after, *_delays(observed, disks, wanted, now)]
    return Changes(
        status=status,
        notices=(*_notices(observed), *notices(observed.status, status)),
        issues=tuple(issues),
        requeue_after=min((delay for delay in delays if delay is not None), default=None),
    )


def _issues(observed: Observed, disks: DiskPlan) -> Iterator[Issue]:
    if _is_secret_missing(observed):
        secret = observed.resource.spec.blob.credentials_secret
        text = f"Secret {secret} of blob.credentialsSecret does not exist, or is empty"
        yield Issue(Reason.CREDENTIALS_MISSING, text)
    if disks.issue is not None:
        yield disks.issue
    for result in _refused(observed):
        if isinstance(result.error, NameTaken):
            yield Issue(Reason.NAME_TAKEN, str(result.error))
        else:
            yield Issue(Reason.APPLY_REFUSED, f"{result.write}: {result.error}")


def _refused(observed: Observed) -> list[Result]:
    """Return the refused writes, except those of claims, which are part of the disk plan."""
    return [one for one in observed.results if one.error and not isinstance(one.write, Resize)]


def _is_secret_missing(observed: Observed) -> bool:
    return _needs_credentials(observed) and observed.credentials is None


def _notices(observed: Observed) -> Iterator[Notice]:
    """Yield notices about the writes of this pass."""
    done = [result.write for result in observed.results if result.error is None]
    refused = any(result.error and isinstance(result.write, Resize) for result in observed.results)
    resized = [write for write in done if isinstance(write, Resize)]
    if resized and not refused:
        text = f"{len(resized)} volume claims are growing to {resized[0].capacity}"
        yield Notice(Severity.NORMAL, "VolumesGrow", text)
    for write in done:
        if isinstance(write, Apply) and write.cause is Cause.REPAIRED:
            text = f"{write} was changed by another client; the operator restored it"
            yield Notice(Severity.NORMAL, "Repaired", text)


def _delays(observed: Observed, disks: DiskPlan, wanted: list[Object], now: datetime) -> Iterator[float]:
    """Yield requeue delays in seconds, one for each reason."""
    if _is_secret_missing(observed):
        yield MISSING_SECRET_SECONDS
    if disks.issue is not None and disks.issue.reason is Reason.VOLUME_EXPANSION_REFUSED:
        yield _retry_in(observed, now)
    if _refused(observed):
        yield REFUSED_SECONDS
    if any(
        isinstance(one.write, Delete) and one.write.kind == kinds.STATEFUL_SET for one in observed.results
    ):
        yield TERMINATING_SECONDS  # it is created again, even if the event of its removal is lost
    live = [observed.objects.get((kind_of(one), name_of(one))) for one in wanted]
    if disks.replace or any(one is not None and is_terminating(one) for one in live):
        yield TERMINATING_SECONDS
