"""New images: one pod at a time; a broken one stops, and the old one brings it back."""

from __future__ import annotations

from tests.e2e.support.cache import Cache
from tests.e2e.support.kubectl import Resource, holds
from tests.e2e.support.searches import Searches
from tests.e2e.support.settings import Settings
from tests.e2e.support.waiting import until


def test_a_new_image_rolls_one_pod_at_a_time(cache: Cache, searches: Searches, settings: Settings) -> None:
    image = settings.image("node", settings.next_tag)
    fewest = 3

    def rolled() -> bool:
        nonlocal fewest
        pods = cache.pods("node")
        fewest = min(fewest, sum(holds(pod, "Ready") for pod in pods))
        return len(pods) == 3 and all(_image(pod) == image and holds(pod, "Ready") for pod in pods)

    with searches.watched() as answers:
        cache.change(nodes={"image": image})
        until(rolled, "all nodes run the new image", 150)
        cache.wait_settled()
    answers.check()
    assert fewest == 2, f"{fewest} of 3 nodes were ready at the worst moment"


def test_a_broken_image_stops_the_roll_and_the_old_one_recovers(
    cache: Cache, searches: Searches, settings: Settings
) -> None:
    with searches.watched() as answers:
        cache.change(nodes={"image": settings.image("client")})  # ends at once, with a text on how to use it
        until(lambda: cache.condition("Degraded").get("status") == "True", "it says that it is degraded", 120)
        assert cache.condition("Degraded")["reason"] == "ContainerCrashing"
        assert "words-node-2" in cache.condition("Degraded")["message"]
        assert cache.condition("Ready")["status"] == "True", "two nodes go on"
        assert len(cache.ready_pods("node")) == 2, "the roll has stopped at the first pod"
        cache.change(nodes={"image": None})
        cache.wait_settled()
    answers.check()


def test_a_broken_image_of_the_routers_leaves_the_old_ones(
    cache: Cache, searches: Searches, settings: Settings
) -> None:
    with searches.watched() as answers:
        cache.change(router={"image": settings.image("router", "does-not-exist"), "imagePullPolicy": "Never"})
        until(lambda: cache.condition("Degraded").get("status") == "True", "it says that it is degraded", 60)
        assert cache.condition("Degraded")["reason"] == "ImagePullFailing"
        assert len(cache.ready_pods("router")) == 2
        cache.change(router={"image": None, "imagePullPolicy": None})
        cache.wait_settled()
    answers.check()


def _image(pod: Resource) -> str:
    image: str = pod["spec"]["containers"][0]["image"]
    return image
