"""The common part of every server's ``__main__``: settings, logs, event loop, exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeVar

from threadpoolctl import threadpool_limits

from vectorcache.errors import InvalidInput
from vectorcache_service.lifecycle import run_main
from vectorcache_service.logs import configure
from vectorcache_service.settings import read


class LogSettings(Protocol):
    """The settings that every server has."""

    @property
    def log_level(self) -> str:
        """Lowest level that is logged."""

    @property
    def log_format(self) -> str:
        """Format of the log."""


S = TypeVar("S", bound=LogSettings)


def run_server(settings: type[S], serve: Callable[[S, Mapping[str, str]], Coroutine[Any, Any, None]]) -> int:
    """Read settings from the environment and the command line, and run a server until SIGTERM or SIGINT.

    Return the exit code: 0, 1 if a dependency failed, or 2 if a setting is not allowed.
    """
    try:
        chosen = read(settings, os.environ, sys.argv[1:])
    except InvalidInput as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    configure(chosen.log_level, chosen.log_format)
    # Requests already run in parallel: BLAS threads for products of small matrices would only add contention.
    with threadpool_limits(1):
        return run_main(serve(chosen, os.environ))
