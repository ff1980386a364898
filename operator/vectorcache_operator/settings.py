"""The settings of the operator."""

from __future__ import annotations

from dataclasses import dataclass

from vectorcache import __version__
from vectorcache_service.logs import FORMATS, LEVELS
from vectorcache_service.settings import Address, address, choice, duration, integer, setting, text

_NAMESPACES = r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\s*,\s*|$))*"


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Each field is a flag (``--resync``) and an environment variable (``VECTORCACHE_RESYNC``)."""

    node_image: str = setting(
        text(), f"vectorcache/node:{__version__}", "image of nodes whose resource names none"
    )
    router_image: str = setting(
        text(), f"vectorcache/router:{__version__}", "image of routers whose resource names none"
    )
    namespaces: str = setting(
        text(_NAMESPACES), "", "namespaces to serve, with commas between; empty: all of the cluster"
    )
    listen: Address = setting(address, "127.0.0.1:8090", "where /healthz, /readyz and /metrics are")
    resync: float = setting(
        duration(1), "120s", "between looks at Secrets, and at whether the watches miss anything"
    )
    router_poll: float = setting(duration(0.1), "10s", "between looks at the routers of each resource")
    workers: int = setting(integer(1, 64), "4", "resources that are reconciled at the same time")
    log_level: str = setting(choice(*LEVELS), "info", "least level that is logged")
    log_format: str = setting(choice(*FORMATS), "json", "format of the log")

    @property
    def watched(self) -> tuple[str, ...]:
        """The namespaces; none means all of the cluster."""
        return tuple(dict.fromkeys(one.strip() for one in self.namespaces.split(",") if one.strip()))
