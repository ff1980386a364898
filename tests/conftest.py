"""What all tests share: fixtures that live in tests/support."""

import pytest

pytest.register_assert_rewrite("tests.support")
pytest_plugins = ["tests.support.azurite", "tests.support.servers"]
