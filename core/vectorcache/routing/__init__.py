"""Which node searches what: the hash ring, nodes, and searches spread over them.

What lives here: ``HashRing``, the ``SearchNode`` and ``Router`` interfaces, nodes in this process, scatter and
gather. What never does: HTTP, processes, Kubernetes; those bring nodes that implement ``SearchNode``.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULE_OF = {
    "HashRing": "ring",
    "LocalNode": "node",
    "NodeHealth": "health",
    "RingRouter": "router",
    "Router": "router",
    "ScatterSearch": "scatter",
    "SearchNode": "node",
    "Together": "together",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: who needs the ring alone need not load Arrow."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
