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
    """Each field is a flag (``--nodes``) and an environment variable (``VECTORCACHE_NODES``)."""

    listen: Address = setting(address, "127.0.0.1:8100", "where to listen; port 0 takes a free one")
    blob_url: str = setting(text(), "", "blob store: azure://account/container/prefix, file:///path, a path")
    nodes: str = setting(text(), "", "the nodes: node-0=http://host:port,node-1=http://host:port,...")
    nodes_file: str = setting(
        text(), "", "a file with the nodes, read again when it changes; see docs/http-api.md"
    )
    kubernetes_resource: str = setting(
        text(r"(?:[a-z0-9](?:[-a-z0-9]*[a-z0-9])?/[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)?"),
        "",
        "the VectorCache whose pods are the nodes: namespace/name",
    )
    grace_period: float = setting(
        duration(), "60s", "for which a pod that was ready keeps its place on the ring"
    )
    virtual_nodes: int = setting(
        integer(1, 1_000_000), "10000", "slots of the ring; the same for all routers"
    )
    replication: int = setting(integer(1, 16), "1", "nodes that own a slot")
    shard_bytes: int = setting(
        size(), "512Mi", "bytes of a collection's chunks that have their place on the ring together"
    )
    timeout: float = setting(duration(0.001), "2s", "for a search that does not say its own")
    hedge_after: float = setting(duration(0.001), "500ms", "before the next node is asked too")
    refresh: float = setting(duration(0.01), "2s", "between looks at the collections' current versions")
    linger: float = setting(
        duration(), "10ms", "that a search waits for company at most, while others are under way"
    )
    centroid_memory: int = setting(size(1 << 20), "1Gi", "bytes of centroids that are kept")
    k: int = setting(integer(1, 10_000), "10", "neighbours of a query that does not say how many")
    nprobe: int = setting(
        integer(0), "0", "cells that a query probes which does not say; 0: as many as the build measured"
    )
    max_k: int = setting(integer(1, 10_000), "1000", "neighbours that a query may ask for")
    max_nprobe: int = setting(integer(1), "1000000", "cells that a query may probe")
    max_probes: int = setting(integer(1), "4000000", "cells that the queries of a request may probe together")
    max_queries: int = setting(integer(1, 1_000_000), "1024", "queries in one request")
    max_body: int = setting(size(1024), "16Mi", "bytes of a request's body")
    max_in_flight: int = setting(integer(1, 100_000), "1024", "requests that run at the same time")
    drain_delay: float = setting(duration(), "0s", "from not ready to no new connections, at shutdown")
    shutdown_timeout: float = setting(duration(), "30s", "for running requests to finish, at shutdown")
    log_level: str = setting(choice(*LEVELS), "info", "least level that is logged")
    log_format: str = setting(choice(*FORMATS), "json", "format of the log")
