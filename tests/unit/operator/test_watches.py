"""kopf is configured to watch and to write nothing. tests/integration/test_operator.py tests the watches."""

from __future__ import annotations

import pytest

from vectorcache_operator.cache import WatchCache
from vectorcache_operator.kinds import OBSERVED, STATEFUL_SET, VECTOR_CACHE
from vectorcache_operator.watches import Watches


@pytest.fixture
def watches() -> Watches:
    return Watches(WatchCache(), lambda _key: None, [VECTOR_CACHE, *OBSERVED], ["shop"])


def test_no_handler_makes_kopf_write(watches: Watches) -> None:
    registry = watches._registry
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
    assert not registry._webhooks.get_all_handlers()
    assert (
        len(registry._watching.get_all_handlers())
        == len(registry._indexing.get_all_handlers())
        == 1 + len(OBSERVED)
    )


def test_the_server_filters_objects_of_others(watches: Watches) -> None:
    selectors = watches._settings.watching.label_selectors
    assert len(selectors) == len(OBSERVED)
    chosen = selectors[STATEFUL_SET.group, STATEFUL_SET.version, STATEFUL_SET.plural]
    assert chosen == "app.kubernetes.io/managed-by=vectorcache-operator"


def test_kopf_posts_nothing_and_has_deadlines(watches: Watches) -> None:
    settings = watches._settings
    assert not settings.posting.enabled
    assert settings.networking.request_timeout == 30
    assert settings.watching.connect_timeout == 10
    assert isinstance(settings.watching.server_timeout, int)  # the API server reads whole seconds only
    assert settings.persistence.finalizer.startswith("vectorcache.io/")
