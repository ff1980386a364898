"""A VectorCache as the tests see it: its resource, its pods, its routers' HTTP API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.support.kubectl import Failed, Kubectl, Resource, condition, holds
from tests.e2e.support.waiting import until

KIND = "vectorcache"
OWNED_KINDS = (
    "statefulset",
    "deployment",
    "service",
    "serviceaccount",
    "configmap",
    "role",
    "rolebinding",
    "poddisruptionbudget",
    "networkpolicy",
)
PORT = 8080


@dataclass
class Cache:
    """One VectorCache.

    Args:
        kubectl: of its namespace.
        name: of the resource.
    """

    kubectl: Kubectl
    name: str

    def resource(self) -> Resource:
        """As it is now."""
        return self.kubectl.get(KIND, self.name)

    def change(self, **spec: Any) -> None:
        """Merge into the spec."""
        self.kubectl.patch(KIND, self.name, {"spec": spec})

    def restore(self, manifest: Path) -> None:
        """Make the spec what a file says, whatever it was, and wait until it is so; volumes that grew stay so."""
        text = self.kubectl("create", "--dry-run=client", "--output=json", f"--filename={manifest}")
        document = json.loads(text)
        if volume := self.kubectl.find("persistentvolumeclaim", f"cache-{self.name}-node-0"):
            document["spec"]["nodes"]["disk"]["capacity"] = volume["spec"]["resources"]["requests"]["storage"]
        self.kubectl("replace", "--filename=-", stdin=json.dumps(document))
        self.wait_settled()

    def wait_settled(self, nodes: int | None = None, seconds: float = 120.0) -> Resource:
        """Wait until it is ready, nothing moves, and the routers know all nodes."""

        def settled() -> Resource | None:
            found = self.resource()
            wanted = found["spec"]["nodes"]["replicas"] if nodes is None else nodes
            status = found.get("status", {})
            calm = (
                status.get("observedGeneration") == found["metadata"]["generation"]
                and holds(found, "Ready")
                and not holds(found, "Progressing")
                and not holds(found, "Degraded")
                and status["nodes"]["ready"] == status["nodes"]["desired"] == wanted
                and status["nodes"].get("updated") == wanted
                and status["router"]["ready"] == found["spec"]["router"]["replicas"]
            )
            return found if calm else None

        try:
            found = until(settled, f"{self.name} settles", seconds) or {}
        except AssertionError as error:
            raise AssertionError(f"{error}; status: {self.resource().get('status')}") from error
        until(lambda: self.rings_agree(found["status"]["nodes"]["desired"]), "all routers know all nodes", 30)
        return found

    def condition(self, name: str) -> Resource:
        """One of its conditions."""
        return condition(self.resource(), name)

    def pods(self, component: str) -> Sequence[Resource]:
        """Its pods of a component (node or router), those that end included."""
        labels = (f"app.kubernetes.io/instance={self.name}", f"app.kubernetes.io/component={component}")
        return self.kubectl.list("pod", *labels)

    def ready_pods(self, component: str) -> list[str]:
        """Names of the pods that are ready and stay."""
        pods = self.pods(component)
        return [
            p["metadata"]["name"]
            for p in pods
            if holds(p, "Ready") and not p["metadata"].get("deletionTimestamp")
        ]

    def claims(self) -> set[str]:
        """Names of its nodes' claims."""
        return {
            name
            for name in self.kubectl.names("persistentvolumeclaim")
            if name.startswith(f"cache-{self.name}-node-")
        }

    def owned(self) -> dict[str, str]:
        """The objects that it owns, kind and name, with their uid."""
        uid = self.resource()["metadata"]["uid"]
        found = self.kubectl.list(",".join(OWNED_KINDS), f"app.kubernetes.io/instance={self.name}")
        return {
            f"{one['kind'].lower()}/{one['metadata']['name']}": one["metadata"]["uid"]
            for one in found
            if any(owner["uid"] == uid for owner in one["metadata"].get("ownerReferences", []))
        }

    def ask_router(self, path: str, pod: str | None = None) -> Any:
        """GET from the routers' Service, or from one router, through the API server."""
        target = f"pods/{pod}:{PORT}" if pod else f"services/{self.name}-router:{PORT}"
        url = f"/api/v1/namespaces/{self.kubectl.namespace}/{target}/proxy{path}"
        return json.loads(self.kubectl("get", "--raw", url, seconds=10))

    def rings_agree(self, nodes: int) -> bool:
        """Whether every router that is ready has the same ring, of so many nodes, none of them suspect."""
        try:
            rings = [self.ask_router("/v1/ring", pod) for pod in self.ready_pods("router")]
        except Failed:
            return False
        calm = all(
            len(ring["nodes"]) == nodes and not any(n.get("suspect") for n in ring["nodes"]) for ring in rings
        )
        return calm and len({ring["version"] for ring in rings}) == 1

    def node_stats(self, pod: str) -> Any:
        """Counters of a node, asked in its pod, because nobody else may reach it."""
        program = (
            "import urllib.request;"
            f"print(urllib.request.urlopen('http://127.0.0.1:{PORT}/v1/stats', timeout=10).read().decode())"
        )
        return json.loads(self.kubectl.execute(pod, "python", "-c", program))


def blob_loads(stats: Any) -> int:
    """How often a node has read from the blob store."""
    return sum(layer["hits"] for layer in stats["layers"] if layer["name"] == "blob")
