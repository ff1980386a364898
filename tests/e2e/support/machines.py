"""Kubernetes nodes: which one keeps what must not be disturbed, and which one may suffer."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.e2e.support.kubectl import Kubectl, Resource, holds, run


@dataclass(frozen=True)
class Machines:
    """Attributes: home, where the blob store and the searchers run; victim, another one, if there is one."""

    home: str
    victim: str | None

    @classmethod
    def find(cls, words: Kubectl) -> Machines:
        """The blob store is where it is, perhaps tied to its volume; any other Kubernetes node may suffer."""
        (azurite,) = words.list("pod", "app=azurite")
        home = azurite["spec"]["nodeName"]
        nodes = json.loads(run("kubectl", "get", "nodes", "--output=json"))["items"]
        others = sorted(node["metadata"]["name"] for node in nodes if _usable(node))
        return cls(home, next((name for name in others if name != home), None))


def _usable(node: Resource) -> bool:
    taints = node["spec"].get("taints", [])
    return holds(node, "Ready") and all(taint["effect"] == "PreferNoSchedule" for taint in taints)
