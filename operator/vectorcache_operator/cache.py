"""The watch cache: what the API last said of every object that matters, so that a reconcile asks for nothing.

kopf's watches fill it; what is written goes in at once, too, so that nobody decides on what it has just changed.
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
    """Objects by kind, namespace and name, and by the resource that they belong to. Of one event loop."""

    _entries: dict[_Id, _Entry] = field(default_factory=dict)
    _by_key: dict[Key, set[_Id]] = field(default_factory=dict)

    def put(self, kind: Kind, obj: Object) -> set[Key]:
        """Keep an object, unless a newer one is known; returns the resources that it belongs and belonged to."""
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
        """Forget an object that is gone, unless it is there anew; returns the resources that it belonged to."""
        identity = (kind, namespace_of(obj), name_of(obj))
        known = self._entries.get(identity)
        if known is None or known.obj["metadata"]["uid"] != obj["metadata"]["uid"]:
            return set()
        del self._entries[identity]
        self._unlink(identity, known.key)
        return {known.key}

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """One object; not to be changed."""
        entry = self._entries.get((kind, namespace, name))
        return entry.obj if entry else None

    def of(self, key: Key, kind: Kind) -> list[Object]:
        """The objects of a kind that belong to a resource, by their names; not to be changed."""
        found = [entry for entry in self._by_key.get(key, ()) if entry[0] == kind]
        return [self._entries[identity].obj for identity in sorted(found, key=lambda one: one[2])]

    def all(self, kind: Kind) -> Iterator[Object]:
        """Every object of a kind."""
        return (entry.obj for identity, entry in list(self._entries.items()) if identity[0] == kind)

    def keys(self) -> Iterable[Key]:
        """Every resource that there is."""
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
    """Without what nobody looks at and what takes the most memory."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    if kind == POD:
        return {"metadata": metadata, "status": obj.get("status", {})}
    return obj | {"metadata": metadata}
