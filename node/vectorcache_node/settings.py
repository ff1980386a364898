"""The settings of a node."""

from __future__ import annotations

from dataclasses import dataclass

from vectorcache_service.logs import FORMATS, LEVELS
from vectorcache_service.settings import (
    Address,
    address,
    choice,
    duration,
    integer,
    setting,
    size,
    text,
)


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Each field is a flag (``--memory``) and an environment variable (``VECTORCACHE_MEMORY``)."""

    name: str = setting(
        text(r"[A-Za-z0-9._-]{1,253}"), "node-0", "name on the ring; stays the same over restarts"
    )
    listen: Address = setting(address, "127.0.0.1:8101", "where to listen; port 0 takes a free one")
    blob_url: str = setting(text(), "", "blob store: azure://account/container/prefix, file:///path, a path")
    data: str = setting(text(), "", "folder of the disk layer")
    memory: int = setting(size(1 << 20), "1Gi", "capacity of the memory layer")
    disk: int = setting(size(1 << 20), "10Gi", "capacity of the disk layer")
    ring_file: str = setting(
        text(), "", "a file with the ring; what the node owns by it is loaded at the start"
    )
    warmup_timeout: float = setting(
        duration(), "30s", "for that loading; then the node is ready all the same"
    )
    scan_threads: int = setting(integer(1, 256), "1", "threads that run long scans")
    max_loads: int = setting(integer(1, 4096), "32", "chunks that are loaded at the same time")
    max_load_bytes: int = setting(
        size(1 << 20), "256Mi", "bytes of the chunks that are loaded at the same time"
    )
    max_queries: int = setting(integer(1, 1_000_000), "4096", "queries in one request")
    max_body: int = setting(size(1024), "64Mi", "bytes of a request's body")
    max_in_flight: int = setting(integer(1, 100_000), "256", "requests that run at the same time")
    drain_delay: float = setting(duration(), "0s", "from not ready to no new connections, at shutdown")
    shutdown_timeout: float = setting(duration(), "30s", "for running requests to finish, at shutdown")
    log_level: str = setting(choice(*LEVELS), "info", "least level that is logged")
    log_format: str = setting(choice(*FORMATS), "json", "format of the log")
