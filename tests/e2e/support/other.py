"""A second cache, of the same name, in another namespace, over the same blob store."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.support.cache import Cache
from tests.e2e.support.kubectl import Kubectl, Resource
from tests.e2e.support.settings import Settings

CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"


def manifest(nodes: int, **more: Any) -> Resource:
    """A small cache."""
    spec = {
        "blob": {"url": "azure://vectorcache/collections", "credentialsSecret": "blob"},
        "nodes": {"replicas": nodes, "memory": {"capacity": "64Mi"}, "disk": {"capacity": "256Mi"}},
        "ring": {"replication": min(nodes, 2)},
        "router": {"replicas": 1},
    }
    return {
        "apiVersion": "vectorcache.io/v1alpha1",
        "kind": "VectorCache",
        "metadata": {"name": "words"},
        "spec": {**spec, **more},
    }


def share_credentials(settings: Settings, words: Cache) -> Kubectl:
    """Give the other namespace what opens the quick start's blob store; returns its kubectl."""
    kubectl = Kubectl(settings.other)
    text = base64.b64decode(words.kubectl.get("secret", "blob")["data"][CONNECTION]).decode()
    text = text.replace("//azurite:", f"//azurite.{settings.words}.svc:")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "blob"}}
    kubectl.apply({**secret, "stringData": {CONNECTION: text}})
    return kubectl


@contextmanager
def other_cache(settings: Settings, words: Cache, nodes: int = 2) -> Iterator[Cache]:
    """The other cache, ready, while the block runs; nothing of it stays."""
    cache = Cache(share_credentials(settings, words), "words")
    try:
        cache.kubectl.apply(manifest(nodes, deletionPolicy="Delete"))
        cache.wait_settled()
        yield cache
    finally:
        cache.kubectl("delete", "vectorcache", "words", "--ignore-not-found", "--timeout=60s", seconds=90)
        cache.kubectl("delete", "persistentvolumeclaim", "--all", "--timeout=60s", seconds=90)
