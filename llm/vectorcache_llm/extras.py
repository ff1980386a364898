"""Optional dependencies: imported where they are first needed, with an error that says what to install."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from vectorcache_llm.errors import MissingExtra


def require(module: str, extra: str) -> Any:
    """Import a module of an optional dependency.

    Args:
        module: its name, such as "redis.asyncio".
        extra: the extra of ``vectorcache`` that brings it, such as "redis".

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            raise  # the module is there, and what it needs itself is not
        raise MissingExtra(module.split(".")[0], extra) from error


def folder_of(package: str, extra: str) -> Path:
    """The folder of an optional package that brings data files, without importing it.

    Raises:
        MissingExtra: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingExtra(package, extra)
    return Path(spec.origin).parent
