"""Policies for which requests the cache may answer.

A reply with a ``temperature`` above 0 is one sample of many. Users of a cache want replies to be reused, so the
default policy accepts such requests too; the temperature is part of the key. To get a new sample each time, use
``repeatable`` instead, or no cache. A request for several replies at once is never answered from the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from vectorcache_llm.response.request import Request

Cacheable: TypeAlias = Callable[[Request], bool]


def one_reply(request: Request) -> bool:
    """Accept requests for a single reply, whatever their temperature."""
    return all(request.parameters.get(name, 1) == 1 for name in ("n", "best_of"))


def repeatable(request: Request) -> bool:
    """Accept requests for a single, repeatable reply: with a temperature of 0, or a seed."""
    is_repeatable = request.parameters.get("temperature") == 0 or "seed" in request.parameters
    return is_repeatable and one_reply(request)
