"""Which requests a cache may answer at all.

A reply with ``temperature`` above 0 is one sample of many. Who puts a cache in front of a model asks for reuse, so
the default takes such requests too: the temperature is part of the key, and those who want a new sample each time
choose ``repeatable`` instead, or no cache. A request for several replies at once is never answered from a cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from vectorcache_llm.response.request import Request

Cacheable: TypeAlias = Callable[[Request], bool]


def one_reply(request: Request) -> bool:
    """Requests for a single reply, whatever their temperature."""
    return all(request.parameters.get(name, 1) == 1 for name in ("n", "best_of"))


def repeatable(request: Request) -> bool:
    """Requests for a single reply that ask for the same one each time: a temperature of 0, or a seed."""
    asked_for = request.parameters.get("temperature") == 0 or "seed" in request.parameters
    return asked_for and one_reply(request)
