"""Programs that end by themselves: their exit code and what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping


def outcome(module: str, *flags: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Exit code and standard error of ``python -m module``, without settings from the environment of the tests."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VECTORCACHE_")}
    ended = subprocess.run(
        [sys.executable, "-m", module, *flags],
        capture_output=True,
        env=inherited | dict(environment or {}),
        timeout=30,
        check=False,
        text=True,
    )
    return ended.returncode, ended.stderr
