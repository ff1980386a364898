"""The default data folder of each platform."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

NAME = "vectorcache"


def data_folder(
    given: str, environ: Mapping[str, str], *, platform: str = sys.platform, home: Path | None = None
) -> Path:
    """Return the given folder, or the platform's folder for user data (XDG on Linux)."""
    if given:
        return Path(given).expanduser()
    home = home or Path.home()
    if platform == "darwin":
        return home / "Library" / "Application Support" / NAME
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / NAME
    return Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / NAME
