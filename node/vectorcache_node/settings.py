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
    """Settings of a node. Each is a flag (``--memory``) and an environment variable (``VECTORCACHE_MEMORY``)."""

    name: str = setting(
        text(r"[A-Za-z0-9._-]{1,253}"), "node-0", "name on the ring; must stay the same across restarts"
    )
    listen: Address = setting(address, "127.0.0.1:8101", "address to listen on; port 0 picks a free port")
    blob_url: str = setting(
        text(), "", "URL of the blob store: azure://account/container/prefix, file:///path, or a path"
    )
    data: str = setting(text(), "", "directory of the disk layer and of metadata copies")
    memory: int = setting(size(1 << 20), "1Gi", "capacity of the memory layer")
    disk: int = setting(size(1 << 20), "10Gi", "capacity of the disk layer")
    ring_file: str = setting(
        text(), "", "file that describes the ring; the node loads the chunks that it owns before it is ready"
    )
    warmup_timeout: float = setting(
        duration(),
        "30s",
        "maximum time for loading the chunks that the node owns; the node is then ready in any case",
    )
    scan_threads: int = setting(integer(1, 256), "1", "number of threads for long scans")
    max_loads: int = setting(integer(1, 4096), "32", "maximum number of chunks loaded concurrently")
    max_load_bytes: int = setting(
        size(1 << 20), "256Mi", "maximum total size of the chunks loaded concurrently"
    )
    max_queries: int = setting(integer(1, 1_000_000), "4096", "maximum number of queries in a request")
    max_body: int = setting(size(1024), "64Mi", "maximum size of a request body")
    max_in_flight: int = setting(integer(1, 100_000), "256", "maximum number of concurrent requests")
    drain_delay: float = setting(
        duration(), "0s", "time at shutdown during which the server is not ready but accepts connections"
    )
    shutdown_timeout: float = setting(duration(), "30s", "time at shutdown for running requests to finish")
    log_level: str = setting(choice(*LEVELS), "info", "lowest level that is logged")
    log_format: str = setting(choice(*FORMATS), "json", "log format: json or console")
