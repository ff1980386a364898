"""What all tests share: fixtures that live in tests/support, and which of them may run side by side."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.support")
pytest_plugins = ["tests.support.azurite", "tests.support.servers"]

# How long an example takes is the machine's affair, which may stand still for a moment.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

INTEGRATION = Path(__file__).parent / "integration"
ON_CLUSTER = {"test_chart", "test_crd", "test_kubernetes_membership", "test_operator"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Several workers may share the tests: those on the cluster follow one another, and so do those of processes."""
    for item in items:
        if INTEGRATION in item.path.parents:
            group = "cluster" if item.path.stem in ON_CLUSTER else "processes"
            item.add_marker(pytest.mark.xdist_group(group))
