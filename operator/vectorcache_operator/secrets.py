"""Hashes of Secrets, so that new credentials restart the pods. Contents are never stored, logged or reported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from vectorcache_operator import kinds
from vectorcache_operator.errors import ApiGone
from vectorcache_operator.kube import Kube


@dataclass(frozen=True, slots=True)
class _Known:
    digest: str
    read_at: float


class Secrets:
    """Reads each Secret at most once in ``max_age`` seconds. A watch would need permission to read all Secrets.

    A missing Secret is requested every time. The number of hashes is bounded by the number of resources.
    """

    def __init__(self, kube: Kube, clock: Callable[[], float], max_age: float) -> None:
        self._kube = kube
        self._clock = clock
        self._max_age = max_age
        self._known: dict[tuple[str, str], _Known] = {}

    async def digest(self, namespace: str, name: str) -> str | None:
        """Return the hash of a Secret's data, or None if the Secret is missing or empty."""
        known = self._known.get((namespace, name))
        if known and self._clock() - known.read_at < self._max_age:
            return known.digest
        self._known.pop((namespace, name), None)
        try:
            secret = await self._kube.get(kinds.SECRET, namespace, name)
        except ApiGone:
            return None
        if not secret.get("data"):
            return None
        digest = _digest(secret["data"], f"{namespace}/{name}")
        self._known[namespace, name] = _Known(digest, self._clock())
        return digest

    def drop_expired(self) -> None:
        """Drop the expired hashes, so that those of unused Secrets do not stay."""
        oldest = self._clock() - self._max_age
        self._known = {one: known for one, known in self._known.items() if known.read_at > oldest}


def _digest(data: dict[str, str], salt: str) -> str:
    """Return the hash, keyed by the Secret's name so that equal contents of two Secrets have different hashes."""
    text = json.dumps(data, sort_keys=True).encode()
    return hashlib.blake2b(text, key=salt.encode()[:64], digest_size=8).hexdigest()
