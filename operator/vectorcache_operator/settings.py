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
        text(),
        f"vectorcache/node:{__version__}",
        "image of the nodes of resources that do not set nodes.image",
    )
    router_image: str = setting(
        text(),
        f"vectorcache/router:{__version__}",
        "image of the routers of resources that do not set router.image",
    )
    namespaces: str = setting(
        text(_NAMESPACES), "", "comma-separated namespaces to watch; empty means the whole cluster"
    )
    listen: Address = setting(address, "127.0.0.1:8090", "address of /healthz, /readyz and /metrics")
    resync: float = setting(
        duration(1), "120s", "interval at which Secrets are read and the watch cache is compared with the API"
    )
    router_poll: float = setting(
        duration(0.1), "10s", "interval at which the routers of each resource are polled"
    )
    workers: int = setting(integer(1, 64), "4", "number of resources that are reconciled at the same time")
    log_level: str = setting(choice(*LEVELS), "info", "lowest level that is logged")
    log_format: str = setting(choice(*FORMATS), "json", "log format: json or console")

    @property
    def watched(self) -> tuple[str, ...]:
        """The namespaces to watch; empty means the whole cluster."""
        return tuple(dict.fromkeys(one.strip() for one in self.namespaces.split(",") if one.strip()))
