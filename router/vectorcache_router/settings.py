"""The settings of a router."""

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
class RouterSettings:
    """Settings of a router. Each is a flag (``--nodes``) and an environment variable (``VECTORCACHE_NODES``)."""

    listen: Address = setting(address, "127.0.0.1:8100", "address to listen on; port 0 picks a free port")
    blob_url: str = setting(
        text(), "", "URL of the blob store: azure://account/container/prefix, file:///path, or a path"
    )
    nodes: str = setting(
        text(), "", "fixed list of nodes: node-0=http://host:port,node-1=http://host:port,..."
    )
    nodes_file: str = setting(
        text(), "", "file that lists the nodes, reread when it changes; see docs/http-api.md"
    )
    kubernetes_resource: str = setting(
        text(r"(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?/[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)?"),
        "",
        "VectorCache resource whose pods are the nodes, as namespace/name",
    )
    grace_period: float = setting(
        duration(), "60s", "time for which a node that is no longer ready keeps its place on the ring"
    )
    virtual_nodes: int = setting(
        integer(1, 1_000_000), "10000", "number of slots on the ring; must be the same for all routers"
    )
    replication: int = setting(integer(1, 16), "1", "number of nodes that own each slot")
    shard_bytes: int = setting(
        size(), "512Mi", "size of a shard, a group of neighbouring chunks that are placed on the same node"
    )
    timeout: float = setting(duration(0.001), "2s", "time limit for searches that do not set their own")
    hedge_after: float = setting(
        duration(0.001), "500ms", "time to wait for a node before the next one is asked as well"
    )
    refresh: float = setting(
        duration(0.01), "2s", "interval between checks for a new version of a collection"
    )
    linger: float = setting(
        duration(), "10ms", "maximum time a search waits to be batched with others while one is in flight"
    )
    centroid_memory: int = setting(size(1 << 20), "1Gi", "memory for the centroids of open collections")
    k: int = setting(integer(1, 10_000), "10", "number of neighbours for queries that do not set k")
    nprobe: int = setting(
        integer(0),
        "0",
        "cells to probe for queries that set neither nprobe nor recall; 0: as measured by the build",
    )
    max_k: int = setting(integer(1, 10_000), "1000", "maximum number of neighbours of a query")
    max_nprobe: int = setting(integer(1), "1000000", "maximum number of cells that a query may probe")
    max_probes: int = setting(
        integer(1), "4000000", "maximum total number of cells that the queries of a request may probe"
    )
    max_queries: int = setting(integer(1, 1_000_000), "1024", "maximum number of queries in a request")
    max_body: int = setting(size(1024), "16Mi", "maximum size of a request body")
    max_in_flight: int = setting(integer(1, 100_000), "1024", "maximum number of concurrent requests")
    drain_delay: float = setting(
        duration(), "0s", "time at shutdown during which the server is not ready but accepts connections"
    )
    shutdown_timeout: float = setting(duration(), "30s", "time at shutdown for running requests to finish")
    log_level: str = setting(choice(*LEVELS), "info", "lowest level that is logged")
    log_format: str = setting(choice(*FORMATS), "json", "log format: json or console")
