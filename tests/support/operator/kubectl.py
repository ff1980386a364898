"""A cluster as tests see it: kubectl by PATH and KUBECONFIG, a namespace of their own, the CRD of this tree."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
CRD = ROOT / "manifests/crd/vectorcaches.yaml"
SECONDS = 60.0
PAUSE = "localhost/pause:1"
"""A container that does nothing, on every node of the test cluster; where it is missing, its pods stay pending."""

Object = dict[str, Any]


class Refused(Exception):
    """kubectl failed; the text is what it wrote to standard error."""


def needs_cluster() -> None:
    """Skip where there is no cluster; in CI that is a failure."""
    reason = "needs a Kubernetes cluster: KUBECONFIG is not set"
    if os.environ.get("KUBECONFIG") and shutil.which("kubectl"):
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def kubectl(*arguments: str, given: Object | None = None, seconds: float = SECONDS) -> str:
    """Run kubectl; what is given goes to its standard input.

    Raises:
        Refused: it failed.
    """
    text = None if given is None else json.dumps(given)
    done = subprocess.run(
        ["kubectl", *arguments], input=text, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


def get(what: str, name: str, namespace: str) -> Object:
    """One object."""
    found: Object = json.loads(kubectl("-n", namespace, "get", what, name, "-o", "json"))
    return found


def items(what: str, namespace: str, selector: str = "") -> list[Object]:
    """Objects of a kind."""
    flags = ["-l", selector] if selector else []
    found: list[Object] = json.loads(kubectl("-n", namespace, "get", what, "-o", "json", *flags))["items"]
    return found


def eventually(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait until something holds; an object that is not there (yet) is no error."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except Refused as error:
            if "NotFound" not in str(error):
                raise
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def install_crd() -> None:
    """Bring the cluster's CRD up to this tree's, and wait until it is served."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    kubectl(
        "wait", "--for=condition=Established", f"crd/{yaml.safe_load(CRD.read_text())['metadata']['name']}"
    )


@contextmanager
def namespace(prefix: str) -> Iterator[str]:
    """A namespace with restricted pod security, removed afterwards."""
    name = f"{prefix}-{secrets.token_hex(3)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl(
        "create",
        "-f",
        "-",
        given={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
    )
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def vector_cache(name: str, namespace: str, **spec: Any) -> Object:
    """A resource with small pods that do nothing; parts of the spec are replaced by what is given."""
    small = {"requests": {"cpu": "1m", "memory": "8Mi"}}
    workload = {"image": PAUSE, "imagePullPolicy": "IfNotPresent", "resources": small}
    nodes = {"replicas": 2, "memory": {"capacity": "16Mi"}, "disk": {"capacity": "64Mi"}, **workload}
    whole = {
        "blob": {"url": "azure://account/container/prefix"},
        "nodes": nodes | spec.pop("nodes", {}),
        "router": {"replicas": 1, **workload} | spec.pop("router", {}),
        **spec,
    }
    metadata = {"name": name, "namespace": namespace}
    return {
        "apiVersion": "vectorcache.io/v1alpha1",
        "kind": "VectorCache",
        "metadata": metadata,
        "spec": whole,
    }
