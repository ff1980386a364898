"""The ConfigMap with the ring, from which a node determines at its start which chunks to load."""

from __future__ import annotations

import json

from vectorcache_operator import kinds, names
from vectorcache_operator.kinds import Object
from vectorcache_operator.plan.base import new_object
from vectorcache_operator.spec import Resource


def ring_config(resource: Resource) -> Object:
    """Return the ring over all wanted nodes, ready or not. Changing it does not restart pods."""
    spec = resource.spec
    ring = {
        "nodes": [names.pod(resource.name, ordinal) for ordinal in range(spec.nodes.replicas)],
        "virtual_nodes": spec.ring.virtual_nodes,
        "replication": spec.ring.replication,
        "shard_bytes": spec.shard_bytes,
    }
    return new_object(kinds.CONFIG_MAP, resource, resource.name, data={names.RING_FILE: json.dumps(ring)})
