"""The way back: nothing stays but what is asked to."""

from __future__ import annotations

from tests.e2e.support import quickstart
from tests.e2e.support.cache import OWNED_KINDS, Cache
from tests.e2e.support.kubectl import Kubectl, run
from tests.e2e.support.operator import Operator
from tests.e2e.support.other import other_cache
from tests.e2e.support.settings import Settings
from tests.e2e.support.waiting import until

INSTANCE = "app.kubernetes.io/instance=words"


def test_a_deleted_resource_leaves_its_volumes(words: Cache) -> None:
    claims = words.claims()
    assert "cache-words-node-0" in claims
    words.kubectl("delete", "vectorcache", "words", "--timeout=60s", seconds=90)
    kinds = ",".join((*OWNED_KINDS, "pod"))
    until(lambda: not words.kubectl.names(kinds, INSTANCE), "all that it owned is gone")
    assert words.claims() == claims


def test_a_namespace_goes_though_the_operator_is_gone(
    words: Cache, settings: Settings, operator: Operator
) -> None:
    with other_cache(settings, words, nodes=1) as other:
        operator.scale(0)
        run("kubectl", "delete", "namespace", settings.other, "--timeout=90s", seconds=120)
    assert not other.kubectl.names("vectorcache,statefulset,persistentvolumeclaim")
    run("kubectl", "create", "namespace", settings.other)
    if not settings.shared:  # else its Role in that namespace is gone for good
        operator.scale(1)


def test_uninstalling_leaves_nothing(words: Cache, settings: Settings) -> None:
    quickstart.remove(settings)
    kinds = run("kubectl", "api-resources", "--verbs=list", "--output=name").split()
    kinds = [kind for kind in kinds if not kind.startswith(("events", "componentstatuses"))]
    for label in (
        "app.kubernetes.io/part-of=vectorcache",
        "app.kubernetes.io/name in (vectorcache,vectorcache-operator)",
    ):
        left = run(
            "kubectl",
            "get",
            ",".join(kinds),
            "-A",
            f"--selector={label}",
            "--output=name",
            "--ignore-not-found",
        )
        assert not left.split() or settings.shared, left
    volumes = Kubectl("default").list("persistentvolume")
    claimed = {
        volume["spec"]["claimRef"]["namespace"]
        for volume in volumes
        if volume["status"]["phase"] != "Released"
    }
    assert not claimed & {settings.words, settings.other, settings.many}
