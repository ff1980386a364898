"""The watches: kopf's streams fill the watch cache, and every change requests a reconcile.

Only ``@kopf.index`` and ``@kopf.on.event`` are used, because with them kopf writes nothing, neither finalizers nor
annotations. Late or repeated events are harmless.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import kopf

from vectorcache_operator import names
from vectorcache_operator.cache import WatchCache
from vectorcache_operator.kinds import VECTOR_CACHE, Kind
from vectorcache_operator.names import Key

REQUEST_SECONDS, CONNECT_SECONDS = 30.0, 10.0
IDLE_SECONDS = 90.0
"""The API server sends a bookmark every minute; a stream without bookmarks is dead."""
EXIT_SECONDS = 0.5
"""Events in process at shutdown may be dropped, because an event only requests a reconcile."""
STREAM_SECONDS = 600
"""Maximum duration of a watch request."""


class Watches:
    """The streams of several kinds. ``started`` is set when ``run`` has started them."""

    def __init__(
        self,
        cache: WatchCache,
        changed: Callable[[Key], None],
        kinds: Sequence[Kind],
        namespaces: Sequence[str],
    ) -> None:
        self._cache = cache
        self._changed = changed
        self._namespaces = namespaces
        self.started = asyncio.Event()
        self._registry = kopf.OperatorRegistry()
        self._settings = _settings(kinds, dynamic=not namespaces)
        _reduce_logging()
        kopf.on.login(registry=self._registry)(_login)
        for kind in kinds:
            self._watch(kind)

    async def run(self) -> None:
        """Watch until cancelled. kopf installs signal handlers, which the caller replaces after ``started`` is set.

        Raises:
            Exception: a stream failed permanently, for example because of missing permissions.
        """
        await kopf.operator(
            registry=self._registry,
            settings=self._settings,
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            ready_flag=self.started,
        )

    def _watch(self, kind: Kind) -> None:
        selector = (kind.group, kind.version, kind.plural)

        @kopf.index(*selector, id=f"fill-{kind.plural}", registry=self._registry)
        async def on_object(body: kopf.Body, **_: Any) -> None:
            for key in self._cache.put(kind, dict(body)):
                self._changed(key)

        @kopf.on.event(*selector, id=f"watch-{kind.plural}", registry=self._registry)
        async def on_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
            if type == "DELETED":
                for key in self._cache.remove(kind, dict(body)):
                    self._changed(key)


def _settings(kinds: Sequence[Kind], *, dynamic: bool) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = not dynamic  # with given namespaces, there is no permission to list CRDs
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.connect_timeout = CONNECT_SECONDS
    settings.queueing.exit_timeout = EXIT_SECONDS
    settings.watching.connect_timeout = CONNECT_SECONDS
    settings.watching.inactivity_timeout = IDLE_SECONDS
    settings.watching.server_timeout = STREAM_SECONDS
    # kopf stores nothing on objects. If other handlers are added, this is the prefix of their annotations.
    settings.persistence.finalizer = f"{names.PREFIX}finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    settings.persistence.diffbase_storage = _NoEssence()
    for kind in kinds:
        if kind != VECTOR_CACHE:
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = names.OWNED_SELECTOR
    return settings


class _NoEssence(kopf.DiffBaseStorage):
    """Disables kopf's copies of objects, which only change handlers need. There are none, and copying is expensive."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        """See ``kopf.DiffBaseStorage.build``."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """See ``kopf.DiffBaseStorage.fetch``."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """See ``kopf.DiffBaseStorage.store``."""


def _reduce_logging() -> None:
    """Reduce kopf's log, which contains every event, unless the log level is debug."""
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        logging.getLogger("kopf").setLevel(logging.WARNING)


async def _login(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)
