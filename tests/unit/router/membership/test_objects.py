from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from vectorcache_router.membership.objects import PodObject, decoder, pod_of
from vectorcache_router.membership.presence import Pod

decode = decoder(PodObject).decode
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
URL = "http://10.0.0.7:8080"


def pod(
    ready: str | None, changed: int = 0, *, ip: str | None = "10.0.0.7", gone_at: int | None = None
) -> Pod:
    """A pod that started at noon; ``changed`` and ``gone_at`` are seconds after that."""
    metadata: dict[str, Any] = {"name": "words-node-7", "labels": {"a": "b"}}
    if gone_at is not None:
        metadata |= {"deletionTimestamp": at(gone_at), "deletionGracePeriodSeconds": 60}
    conditions = [{"type": "Initialized", "status": "True"}]
    if ready is not None:
        conditions.append({"type": "Ready", "status": ready, "lastTransitionTime": at(changed)})
    status: dict[str, Any] = {"startTime": at(0), "conditions": conditions, "phase": "Running"}
    if ip is not None:
        status["podIP"] = ip
    return pod_of(decode(msgspec.json.encode({"metadata": metadata, "status": status})))


def at(seconds: int) -> str:
    return datetime.fromtimestamp(NOON + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_pod_that_is_ready_has_an_address() -> None:
    assert pod("True", 30) == Pod("words-node-7", URL, ready=True)
    assert pod("True", 30, ip="fd00::7").url == "http://[fd00::7]:8080"
    assert not pod("True", 30, ip=None).ready


@pytest.mark.parametrize("ready", [None, "False", "Unknown"])
@pytest.mark.parametrize("changed", [0, 1, 2])
def test_a_pod_that_was_never_ready_has_not_left(ready: str | None, changed: int) -> None:
    assert pod(ready, changed) == Pod("words-node-7", URL, ready=False, left=None)


def test_a_pod_that_stopped_being_ready_left_then() -> None:
    assert pod("False", 300) == Pod("words-node-7", URL, ready=False, left=NOON + 300)


def test_a_pod_that_is_being_deleted_left_when_that_was_asked_for() -> None:
    assert pod("True", 30, gone_at=460) == Pod("words-node-7", URL, ready=False, left=NOON + 400)
    assert pod("False", 405, gone_at=460).left == NOON + 400, "its server stops because of that"
    assert pod("False", 390, gone_at=460).left == NOON + 390, "it had stopped before"
    assert pod("False", 0, gone_at=460).left is None, "it was never ready"


def test_a_pending_pod_is_not_ready_and_never_left() -> None:
    assert pod_of(decode(b'{"metadata": {"name": "words-node-7"}}')) == Pod("words-node-7", None, ready=False)
