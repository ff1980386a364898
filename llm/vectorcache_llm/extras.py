"""Import of optional dependencies on first use."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from vectorcache_llm.errors import MissingExtra


def require(module: str, extra: str) -> Any:
    """Import a module of an optional dependency.

    Args:
        module: name of the module, such as "redis.asyncio".
        extra: extra of ``vectorcache`` that installs it, such as "redis".

    Raises:
        MissingExtra: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            raise  # the module exists, but one of its dependencies does not
        raise MissingExtra(module.split(".")[0], extra) from error


def folder_of(package: str, extra: str) -> Path:
    """Return the folder of an optional package with data files, without importing it.

    Raises:
        MissingExtra: the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingExtra(package, extra)
    return Path(spec.origin).parent
