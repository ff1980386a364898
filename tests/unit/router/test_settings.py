from __future__ import annotations

import dataclasses

import pytest

from vectorcache.errors import InvalidInput
from vectorcache_router import RouterSettings
from vectorcache_service.settings import flag, read, variable

BAD = [
    ("listen", "somewhere"),
    ("kubernetes_resource", "words"),
    ("kubernetes_resource", "a/b/c"),
    ("kubernetes_resource", "Words/w"),
    ("grace_period", "60"),
    ("k", "0"),
    ("nprobe", "-1"),
    ("virtual_nodes", "0"),
    ("replication", "17"),
    ("timeout", "0s"),
    ("timeout", "2"),
    ("hedge_after", "0ms"),
    ("refresh", "never"),
    ("linger", "5"),
    ("centroid_memory", "1Ki"),
    ("max_k", "10001"),
    ("max_nprobe", "0"),
    ("max_queries", "-1"),
    ("max_body", "1"),
    ("max_in_flight", "0"),
    ("drain_delay", "soon"),
    ("shutdown_timeout", "30"),
    ("log_level", "trace"),
    ("log_format", "text"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_named_by_its_flag_or_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(RouterSettings, {}, [f"{flag(name)}={value}"])
    assert refused.value.field == flag(name)
    with pytest.raises(InvalidInput) as refused:
        read(RouterSettings, {variable(name): value})
    assert (refused.value.field, refused.value.value) == (variable(name), value)
    assert refused.value.allowed


def test_every_setting_has_a_default_and_a_description() -> None:
    settings = read(RouterSettings, {})
    assert (settings.blob_url, settings.nodes, settings.nodes_file) == ("", "", "")
    assert (settings.kubernetes_resource, settings.grace_period) == ("", 60.0)
    assert (settings.k, settings.nprobe) == (10, 0)
    assert settings.hedge_after < settings.timeout
    assert all(field.metadata["help"] for field in dataclasses.fields(RouterSettings))
