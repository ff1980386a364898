"""The operator's seam to the API, in memory: what was written, and failures where a test wants them.

No schema, no defaults, no garbage collection: how the real one behaves tests/integration/test_operator.py shows.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

from vectorcache_operator.errors import ApiGone
from vectorcache_operator.kinds import BY_NAME, SECRET, Kind, Object, kind_of, name_of, namespace_of


class FakeKube:
    """Attributes:

    objects: what there is, by kind and name.
    writes: what was written, in order.
    fail: an error for each of the next requests; None lets one pass.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.writes: list[str] = []
        self.reads: list[str] = []
        self.fail: list[Exception | None] = []
        self.monitors = False
        self._versions = itertools.count(10_000)

    def put(self, obj: Object) -> Object:
        kept = copy.deepcopy(obj)
        kept["metadata"].setdefault("uid", f"uid-{len(self.objects)}")
        kept["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[kept["kind"], name_of(kept)] = kept
        return copy.deepcopy(kept)

    async def apply(self, wanted: Object, *, force: bool, subresource: str = "") -> Object:
        self._write(f"apply {wanted['kind']} {name_of(wanted)}{f'/{subresource}' if subresource else ''}")
        live = self.objects.get((kind_of(wanted).name, name_of(wanted)), {"metadata": {}})
        metadata = live["metadata"] | wanted["metadata"]
        return self.put(live | wanted | {"metadata": metadata})

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        self._write(f"merge {kind} {name}")
        return self.put(self.objects[kind.name, name] | patch)

    async def create(self, kind: Kind, namespace: str, obj: Object) -> Object:
        self._write(f"create {kind} {obj['reason']}")
        return obj

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        self.reads.append(f"get {kind} {name}")
        if (kind.name, name) not in self.objects:
            raise ApiGone(404, "NotFound", f"{kind} {name} not found")
        return self.objects[kind.name, name]

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str, propagation: str) -> None:
        self._write(f"delete {kind} {name} {propagation}")
        del self.objects[kind.name, name]

    async def list_metadata(self, kind: Kind, namespace: str | None, selector: str) -> Object:
        self.reads.append(f"list {kind}")
        found = [one for (name, _), one in self.objects.items() if name == kind.name]
        items: list[Any] = [{"metadata": one["metadata"]} for one in found]
        return {"metadata": {"resourceVersion": str(next(self._versions))}, "items": items or None}

    async def serves(self, kind: Kind) -> bool:
        self.reads.append(f"serves {kind}")
        return self.monitors

    def owned(self) -> dict[tuple[str, str], Object]:
        """What is applied, without resources, Secrets and what a test put there."""
        return {one: obj for one, obj in self.objects.items() if one[0] not in ("VectorCache", SECRET.name)}

    def events(self) -> list[tuple[Kind, Object]]:
        """All as a watch would tell it, but Secrets."""
        objects = self.objects.values()
        return [
            (BY_NAME[one["kind"]], one) for one in objects if one["kind"] in BY_NAME and namespace_of(one)
        ]

    def _write(self, what: str) -> None:
        error = self.fail.pop(0) if self.fail else None
        if error is not None:
            raise error
        self.writes.append(what)
