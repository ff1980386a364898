"""The watch cache: the latest known version of every relevant object, so that a reconcile sends no reads to the API.

kopf's watches fill it. The API's answers to writes enter it immediately, so that no decision uses an object that the
operator has just changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from vectorcache_operator import names
from vectorcache_operator.kinds import (
    POD,
    VECTOR_CACHE,
    Kind,
    Object,
    labels_of,
    name_of,
    namespace_of,
    version_of,
)
from vectorcache_operator.names import Key

_Id = tuple[Kind, str, str]


@dataclass(slots=True)
class _Entry:
    obj: Object
    key: Key


@dataclass(slots=True)
class WatchCache:
    """Objects by kind, namespace and name, and by the resource that they belong to. For use in one event loop."""

    _entries: dict[_Id, _Entry] = field(default_factory=dict)
    _by_key: dict[Key, set[_Id]] = field(default_factory=dict)

    def put(self, kind: Kind, obj: Object) -> set[Key]:
        """Store an object unless a newer version is stored. Return the resources that it belongs and belonged to."""
        identity = (kind, namespace_of(obj), name_of(obj))
        known = self._entries.get(identity)
        if known and version_of(known.obj) > version_of(obj):
            return set()
        touched = {known.key} if known else set()
        if known:
            self._unlink(identity, known.key)
        key = _key_of(kind, obj)
        self._entries[identity] = _Entry(_trimmed(kind, obj), key)
        self._by_key.setdefault(key, set()).add(identity)
        return touched | {key}

    def remove(self, kind: Kind, obj: Object) -> set[Key]:
        """Remove a deleted object unless it was created again. Return the resources that it belonged to."""
        identity = (kind, namespace_of(obj), name_of(obj))
        known = self._entries.get(identity)
        if known is None or known.obj["metadata"]["uid"] != obj["metadata"]["uid"]:
            return set()
        del self._entries[identity]
        self._unlink(identity, known.key)
        return {known.key}

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return one object or None. Do not modify it."""
        entry = self._entries.get((kind, namespace, name))
        return entry.obj if entry else None

    def of(self, key: Key, kind: Kind) -> list[Object]:
        """Return the objects of a kind that belong to a resource, sorted by name. Do not modify them."""
        found = [entry for entry in self._by_key.get(key, ()) if entry[0] == kind]
        return [self._entries[identity].obj for identity in sorted(found, key=lambda one: one[2])]

    def all(self, kind: Kind) -> Iterator[Object]:
        """Return an iterator over all objects of a kind."""
        return (entry.obj for identity, entry in list(self._entries.items()) if identity[0] == kind)

    def keys(self) -> Iterable[Key]:
        """Return the keys of all resources."""
        return [Key(namespace_of(obj), name_of(obj)) for obj in self.all(VECTOR_CACHE)]

    def __len__(self) -> int:
        return len(self._entries)

    def _unlink(self, identity: _Id, key: Key) -> None:
        siblings = self._by_key[key]
        siblings.discard(identity)
        if not siblings:
            del self._by_key[key]


def _key_of(kind: Kind, obj: Object) -> Key:
    name = name_of(obj) if kind == VECTOR_CACHE else labels_of(obj).get(names.LABEL_INSTANCE, "")
    return Key(namespace_of(obj), name)


def _trimmed(kind: Kind, obj: Object) -> Object:
    """Return the object without the large fields that are never read."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    if kind == POD:
        return {"metadata": metadata, "status": obj.get("status", {})}
    return obj | {"metadata": metadata}
