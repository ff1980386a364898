from __future__ import annotations

import dataclasses

import pytest

from vectorcache.errors import InvalidInput
from vectorcache_node import NodeSettings
from vectorcache_service.settings import flag, read, variable

BAD = [
    ("name", "a node"),
    ("name", ""),
    ("listen", "8101"),
    ("listen", "localhost:70000"),
    ("memory", "0"),
    ("memory", "1Xi"),
    ("disk", "-1Gi"),
    ("scan_threads", "0"),
    ("max_loads", "many"),
    ("max_load_bytes", "1Ki"),
    ("max_queries", "0"),
    ("max_body", "10"),
    ("max_in_flight", "1.5"),
    ("drain_delay", "5"),
    ("shutdown_timeout", "-1s"),
    ("log_level", "loud"),
    ("log_format", "xml"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_named_by_its_flag_or_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(NodeSettings, {}, [f"{flag(name)}={value}"])
    assert refused.value.field == flag(name)
    with pytest.raises(InvalidInput) as refused:
        read(NodeSettings, {variable(name): value})
    assert (refused.value.field, refused.value.value) == (variable(name), value)
    assert refused.value.allowed


def test_defaults_need_nothing_but_a_blob_store_and_a_folder() -> None:
    settings = read(NodeSettings, {})
    assert (settings.blob_url, settings.data) == ("", "")
    assert settings.disk == 10 * settings.memory
    assert all(field.metadata["help"] for field in dataclasses.fields(NodeSettings))


def test_a_flag_wins_over_the_environment() -> None:
    environment = {"VECTORCACHE_MEMORY": "2Gi", "VECTORCACHE_NAME": "products-node-3"}
    settings = read(NodeSettings, environment, ["--memory", "3Gi"])
    assert (settings.memory, settings.name) == (3 << 30, "products-node-3")
