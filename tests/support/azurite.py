"""Azurite for tests: one emulator per session, one container per test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from vectorcache_tools.azurite import Azurite

INSTALL = Path(__file__).parents[2] / "scripts" / "azurite.sh"
INSTALL_SECONDS = 300.0


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """A running emulator; skips the test where it cannot be had, and fails it in CI."""
    with Azurite(_installed()) as running:
        yield running


@pytest.fixture
async def azurite_container(azurite: Azurite) -> str:
    """The name of a new, empty container."""
    name = f"test-{uuid4().hex}"
    await azurite.create_container(name)
    return name


@pytest.fixture
def azurite_url(azurite: Azurite, azurite_container: str) -> str:
    """The URL of a new, empty container; its credentials are ``azurite.environment``."""
    return azurite.url(azurite_container)


def _installed() -> Path:
    try:
        done = subprocess.run([INSTALL], stdout=subprocess.PIPE, timeout=INSTALL_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        _missing(f"Azurite could not be installed (it takes npm): {error}")
    return Path(done.stdout.decode().strip())


def _missing(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
