"""More nodes and fewer, by kubectl and by the routers' own API; every search is answered, and right."""

from __future__ import annotations

import pytest
from tests.e2e.support.cache import Cache
from tests.e2e.support.kubectl import Failed
from tests.e2e.support.searches import Searches
from tests.e2e.support.waiting import until_equal


def test_three_nodes_become_five_and_then_two(cache: Cache, searches: Searches) -> None:
    with searches.watched() as answers:
        cache.kubectl("scale", "vectorcache/words", "--replicas=5")
        grown = cache.wait_settled(5)
        assert sum(node["slots"] for node in grown["status"]["ring"]["nodes"]) == 10_000
        _ask_for(cache, 2)
        shrunk = cache.wait_settled(2)
    answers.check(least=100)
    assert shrunk["spec"]["nodes"]["replicas"] == 2
    assert shrunk["status"]["nodes"]["summary"] == "2/2"
    assert cache.ask_router("/v1/nodes/count") == {"desired": 2, "ready": 2}
    kept = {f"cache-words-node-{number}" for number in range(5)}
    assert cache.claims() == kept, "deletionPolicy Retain keeps the volumes of nodes that left"


def test_volumes_of_nodes_that_leave_go_with_deletion_policy_delete(cache: Cache, searches: Searches) -> None:
    with searches.watched() as answers:
        cache.change(deletionPolicy="Delete", nodes={"replicas": 2})
        cache.wait_settled(2)
        until_equal(lambda: "cache-words-node-2" in cache.claims(), False, "the volume of node 2 is gone")
    answers.check()
    assert {"cache-words-node-0", "cache-words-node-1"} <= cache.claims()


def test_a_router_says_why_it_cannot_scale(cache: Cache) -> None:
    with pytest.raises(Failed, match="must not exceed nodes.replicas"):
        _ask_for(cache, 1)
    assert cache.resource()["spec"]["nodes"]["replicas"] == 3


def _ask_for(cache: Cache, count: int) -> None:
    """POST /v1/nodes/count, from a pod as a user would."""
    program = (
        "from vectorcache_client import Client\n"
        f"with Client('http://words-router:8080') as client: print(client.set_node_count({count}))"
    )
    cache.kubectl.execute("searcher", "python", "-c", program)
