"""Hashes of Secrets, so that pods roll when their credentials change. Contents are never kept, logged or told."""

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
    """Reads each Secret at most once in ``max_age`` seconds; there is no watch, which would need a right to all.

    A Secret that is missing is asked for each time. The number of resources bounds what is kept.
    """

    def __init__(self, kube: Kube, clock: Callable[[], float], max_age: float) -> None:
        self._kube = kube
        self._clock = clock
        self._max_age = max_age
        self._known: dict[tuple[str, str], _Known] = {}

    async def digest(self, namespace: str, name: str) -> str | None:
        """The hash of a Secret's data; None where there is none, or nothing in it."""
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

    def drop_old(self) -> None:
        """Forget what is too old to be used; called now and then, so that Secrets nobody names any more go."""
        oldest = self._clock() - self._max_age
        self._known = {one: known for one, known in self._known.items() if known.read_at > oldest}


def _digest(data: dict[str, str], salt: str) -> str:
    """Keyed by the Secret's name, so that equal credentials of two do not show as equal."""
    text = json.dumps(data, sort_keys=True).encode()
    return hashlib.blake2b(text, key=salt.encode()[:64], digest_size=8).hexdigest()
