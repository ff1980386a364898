"""What all tests share: fixtures that live in tests/support, and which of them may run side by side."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.support")
pytest_plugins = ["tests.support.azurite", "tests.support.servers"]

# How long an example takes is the machine's affair, which may stand still for a moment.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# CI tries the same examples each time: what it finds once, it finds again.
settings.register_profile("ci", settings.get_profile("patient"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "patient")

INTEGRATION = Path(__file__).parent / "integration"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several workers share the tests, those that start processes or use the cluster follow one another."""
    for item in items:
        if INTEGRATION in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("processes"))
        elif item.get_closest_marker("azurite"):
            item.add_marker(pytest.mark.xdist_group("azurite"))  # one worker starts the emulator
