"""Watching, which is what kopf is here for: its streams fill the watch cache, and each change asks for a reconcile.

Only ``@kopf.index`` and ``@kopf.on.event``: kopf then writes nothing at all, neither finalizers nor annotations,
and what comes late or twice costs nothing.
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
"""The API server sends a bookmark each minute; a stream without any is dead."""
EXIT_SECONDS = 0.5
"""What is being handed out when the process ends needs no more: an event only asks for a reconcile."""
STREAM_SECONDS = 600
"""How long one watch request lasts, at most."""


class Watches:
    """The streams of some kinds; ``run`` lives as long as they do. ``started`` is set when it has begun."""

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
        _quieten()
        kopf.on.login(registry=self._registry)(_login)
        for kind in kinds:
            self._watch(kind)

    async def run(self) -> None:
        """Watch until cancelled. Its handlers of signals are there to be replaced once it has started.

        Raises:
            Exception: a stream failed for good, such as for lack of rights.
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
        async def fill(body: kopf.Body, **_: Any) -> None:
            for key in self._cache.put(kind, dict(body)):
                self._changed(key)

        @kopf.on.event(*selector, id=f"see-{kind.plural}", registry=self._registry)
        async def see(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
            if type == "DELETED":
                for key in self._cache.remove(kind, dict(body)):
                    self._changed(key)


def _settings(kinds: Sequence[Kind], *, dynamic: bool) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = not dynamic  # of namespaces we may not list what the cluster has
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.connect_timeout = CONNECT_SECONDS
    settings.queueing.exit_timeout = EXIT_SECONDS
    settings.watching.connect_timeout = CONNECT_SECONDS
    settings.watching.inactivity_timeout = IDLE_SECONDS
    settings.watching.server_timeout = STREAM_SECONDS
    # Nothing is ever kept on objects; should a handler of another sort be added one day, this is its prefix.
    settings.persistence.finalizer = f"{names.PREFIX}finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    settings.persistence.diffbase_storage = _NoEssence()
    for kind in kinds:
        if kind != VECTOR_CACHE:
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = names.OWNED_SELECTOR
    return settings


class _NoEssence(kopf.DiffBaseStorage):
    """What kopf remembers of objects for handlers of changes: there are none, and copying objects for it is dear."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        """What would be compared."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """What was kept."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Keep nothing."""


def _quieten() -> None:
    """kopf logs every event that it handed out; that is for debugging."""
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        logging.getLogger("kopf").setLevel(logging.WARNING)


async def _login(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)
