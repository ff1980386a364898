"""The spec of a VectorCache resource as types. A test compares them with the schema in manifests/crd.

The API server validated a spec with the schema that was installed at the time, which may be of another version. A spec
that cannot be decoded or is inconsistent raises ``InvalidSpec``, which the operator reports as a condition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from vectorcache.errors import VectorCacheError
from vectorcache_operator import quantity
from vectorcache_operator.kinds import Object, name_of, namespace_of
from vectorcache_operator.names import Key

Json = dict[str, Any]

DISK_FACTOR = 10
"""Default capacity of the disk, as a multiple of the memory's capacity."""

SHARDS_PER_NODE = 2
"""The memory's capacity as a multiple of the default shard size."""


class InvalidSpec(VectorCacheError):
    """The spec is invalid."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base class. Unknown fields are ignored, because a newer schema may have them."""


class WorkloadIdentity(_Part, frozen=True):
    """Azure Workload Identity."""

    client_id: str
    tenant_id: str | None = None


class Blob(_Part, frozen=True):
    """The blob store."""

    url: str
    credentials_secret: str | None = None
    workload_identity: WorkloadIdentity | None = None


class Memory(_Part, frozen=True):
    """The memory layer."""

    capacity: str = "1Gi"


class Disk(_Part, frozen=True):
    """The disk layer."""

    capacity: str | None = None
    storage_class_name: str | None = None


class Warmup(_Part, frozen=True):
    """Warm-up of a node before it becomes ready."""

    timeout: str = "30s"


class Scheduling(_Part, frozen=True):
    """Scheduling of pods."""

    node_selector: dict[str, str] | None = None
    tolerations: list[Json] | None = None
    affinity: Json | None = None
    topology_spread_constraints: list[Json] | None = None
    priority_class_name: str | None = None


class Workload(_Part, frozen=True):
    """The common part of nodes and routers."""

    image: str | None = None
    image_pull_policy: str | None = None
    resources: Json | None = None
    scheduling: Scheduling = Scheduling()
    pod_labels: dict[str, str] = {}
    pod_annotations: dict[str, str] = {}


class Nodes(Workload, frozen=True):
    """The cache nodes."""

    replicas: int = 3
    memory: Memory = Memory()
    disk: Disk = Disk()
    grace_period: str = "60s"
    warmup: Warmup = Warmup()


class Ring(_Part, frozen=True):
    """Distribution of collections over nodes."""

    virtual_nodes: int = 10_000
    replication: int = 2
    shard_size: str | None = None


class Service(_Part, frozen=True):
    """The Service of the routers."""

    type: str = "ClusterIP"
    port: int = 8080
    annotations: dict[str, str] = {}


class Router(Workload, frozen=True):
    """The routers."""

    replicas: int = 2
    service: Service = Service()
    allow_from: list[Json] | None = None


class Search(_Part, frozen=True):
    """Defaults of a search."""

    top_k: int = 10
    nprobe: int | None = None
    timeout: str = "2s"


class PullSecret(_Part, frozen=True):
    """Reference to the credentials of an image registry."""

    name: str


class Spec(_Part, frozen=True):
    """The whole spec."""

    blob: Blob
    nodes: Nodes = Nodes()
    ring: Ring = Ring()
    router: Router = Router()
    search: Search = Search()
    image_pull_secrets: list[PullSecret] = []
    log_level: str = "info"
    deletion_policy: Literal["Retain", "Delete"] = "Retain"

    @property
    def disk(self) -> str:
        """The wanted capacity of a node's disk."""
        return self.nodes.disk.capacity or quantity.times(self.nodes.memory.capacity, DISK_FACTOR)

    @property
    def shard_bytes(self) -> int:
        """The size of a shard in bytes: chunks of a shard are placed on the ring together."""
        if self.ring.shard_size is not None:
            return quantity.size(self.ring.shard_size)
        return quantity.size(self.nodes.memory.capacity) // SHARDS_PER_NODE


@dataclass(frozen=True, slots=True)
class Resource:
    """A VectorCache: its identity and its spec."""

    key: Key
    uid: str
    generation: int
    spec: Spec

    @property
    def name(self) -> str:
        """Its ``metadata.name``."""
        return self.key.name


def decode(obj: Object) -> Resource:
    """Decode a resource.

    Raises:
        InvalidSpec: the spec is invalid; the message names the field.
    """
    metadata = obj["metadata"]
    try:
        spec = msgspec.convert(obj.get("spec") or {}, Spec)
        _check(spec)
    except (ValueError, msgspec.ValidationError) as error:
        raise InvalidSpec(f"spec: {error}") from error
    key = Key(namespace_of(obj), name_of(obj))
    return Resource(key, metadata["uid"], metadata.get("generation", 1), spec)


def _check(spec: Spec) -> None:
    """Raise ValueError if fields contradict each other. The installed schema may lack these rules."""
    nodes, ring = spec.nodes, spec.ring
    memory = _size("nodes.memory.capacity", nodes.memory.capacity)
    if nodes.replicas and ring.replication > nodes.replicas:
        raise ValueError(
            f"ring.replication {ring.replication} must not exceed nodes.replicas {nodes.replicas}"
        )
    if _size("nodes.disk.capacity", spec.disk) < memory:
        raise ValueError(
            f"nodes.disk.capacity {spec.disk} must be at least nodes.memory.capacity {nodes.memory.capacity}"
        )
    if ring.shard_size is not None:
        _size("ring.shardSize", ring.shard_size)
    if spec.blob.credentials_secret and spec.blob.workload_identity:
        raise ValueError("blob: set credentialsSecret or workloadIdentity, not both")
    if min(nodes.replicas, spec.router.replicas, ring.replication - 1, ring.virtual_nodes - 1) < 0:
        raise ValueError("replicas must be 0 or more, ring.replication and ring.virtualNodes 1 or more")


def _size(field: str, text: str) -> int:
    try:
        return quantity.size(text)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from error
