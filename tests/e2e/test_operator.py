"""The operator: killed in the middle of its work, undone by hand, and careful with what is not its own."""

from __future__ import annotations

from tests.e2e.support.cache import Cache
from tests.e2e.support.operator import Operator
from tests.e2e.support.other import other_cache
from tests.e2e.support.searches import Searches
from tests.e2e.support.settings import Settings
from tests.e2e.support.waiting import until


def test_a_killed_operator_finishes_a_scale_when_it_is_back(
    cache: Cache, searches: Searches, operator: Operator
) -> None:
    with searches.watched() as answers:
        cache.kubectl("scale", "vectorcache/words", "--replicas=4")
        operator.kill()
        cache.wait_settled(4)
        cache.kubectl("scale", "vectorcache/words", "--replicas=3")
        until(
            lambda: len(cache.ready_pods("node")) < 4 or cache.condition("Progressing")["status"] == "True",
            "it begins",
        )
        operator.kill()
        cache.wait_settled(3)
    answers.check()


def test_what_is_deleted_by_hand_comes_back(cache: Cache, searches: Searches) -> None:
    before = cache.owned()
    assert len(before) >= 12, before
    with searches.watched() as answers:
        # The pods stay, so that searches go on; what happens without them, the next test shows.
        cache.kubectl("delete", "--cascade=orphan", "--wait=false", *before)
        until(lambda: _all_new(before, cache.owned()), "everything is there again")
        _wait_for_tokens(cache)
        cache.wait_settled()
    answers.check()


def test_two_caches_of_one_name_do_not_touch_each_other(
    cache: Cache, searches: Searches, settings: Settings
) -> None:
    mine, pods = cache.owned(), _uids(cache)
    versions = _spec_generations(cache)
    with searches.watched() as answers:
        with other_cache(settings, cache) as other:
            assert {node["name"] for node in other.ask_router("/v1/ring")["nodes"]} == {
                "words-node-0",
                "words-node-1",
            }
            _addresses_differ(cache, other)
            before = other.owned()
            other.kubectl("delete", "--wait=false", *before)
            until(lambda: _all_new(before, other.owned()), "everything of the other one is there again", 90)
            _wait_for_tokens(other)
            other.wait_settled()
        until(
            lambda: not other.kubectl.names("pod,statefulset,deployment,configmap") - {"kube-root-ca.crt"},
            "it is gone",
        )
    answers.check()
    assert cache.owned() == mine
    assert _uids(cache) == pods
    assert _spec_generations(cache) == versions


def _wait_for_tokens(cache: Cache) -> None:
    """Tokens die with their ServiceAccount: the operator rolls the routers, for only a new pod has a new one."""
    until(lambda: _account_of(cache) == _account_told(cache), "the routers' template tells their new account")
    cache.kubectl("rollout", "status", "deployment/words-router", "--timeout=60s", seconds=90)


def _account_of(cache: Cache) -> str:
    return cache.kubectl("get", "serviceaccount/words-router", "--output=jsonpath={.metadata.uid}")


def _account_told(cache: Cache) -> str:
    path = r"{.spec.template.metadata.annotations.vectorcache\.io/service-account}"
    return cache.kubectl("get", "deployment/words-router", f"--output=jsonpath={path}")


def _all_new(before: dict[str, str], now: dict[str, str]) -> bool:
    return before.keys() <= now.keys() and not set(before.values()) & set(now.values())


def _uids(cache: Cache) -> set[str]:
    pods = [*cache.pods("node"), *cache.pods("router")]
    return {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}


def _spec_generations(cache: Cache) -> dict[str, int]:
    kinds = "statefulset,deployment,networkpolicy,poddisruptionbudget"
    found = cache.kubectl.list(kinds, "app.kubernetes.io/instance=words")
    return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["generation"] for one in found}


def _addresses_differ(one: Cache, other: Cache) -> None:
    first, second = (
        {node["address"] for node in cache.ask_router("/v1/ring")["nodes"]} for cache in (one, other)
    )
    assert not first & second
