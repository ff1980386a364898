"""The wiring of the operator process: connections, cache, queue, watches and HTTP server."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from vectorcache.errors import VectorCacheError
from vectorcache_operator import routers
from vectorcache_operator.apply import Applier
from vectorcache_operator.cache import WatchCache
from vectorcache_operator.events import Events
from vectorcache_operator.health import Health, health_app
from vectorcache_operator.kinds import OBSERVED, SERVICE_MONITOR, VECTOR_CACHE
from vectorcache_operator.kube import Kube, connect
from vectorcache_operator.memory import trim_periodically
from vectorcache_operator.metrics import OperatorMetrics
from vectorcache_operator.names import Key
from vectorcache_operator.observed import Surroundings
from vectorcache_operator.plan import Images
from vectorcache_operator.queue import WorkQueue
from vectorcache_operator.reconcile import Reconciler
from vectorcache_operator.resync import Resync
from vectorcache_operator.routers import Routers
from vectorcache_operator.secrets import Secrets
from vectorcache_operator.settings import OperatorSettings
from vectorcache_operator.watches import Watches
from vectorcache_service import run

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
DEFAULT_NAMESPACE = "vectorcache-system"
CRD_SECONDS = 30
STOP_SECONDS = 10.0


async def serve_operator(settings: OperatorSettings, environment: Mapping[str, str]) -> None:
    """Run until the process is stopped. If one part fails permanently, the process ends, so that it is restarted."""
    metrics = OperatorMetrics(CollectorRegistry())
    async with connect(environment, metrics) as kube, routers.session() as session:
        await _run(settings, kube, session, metrics)


async def _run(settings: OperatorSettings, kube: Kube, session: Any, metrics: OperatorMetrics) -> None:
    await _wait_for_crd(kube)
    clock, rng = time.monotonic, random.Random()  # noqa: S311 - jitter
    cache = WatchCache()
    surroundings = Surroundings(
        Images(settings.node_image, settings.router_image),
        _operator_namespace(),
        service_monitors=await kube.serves(SERVICE_MONITOR),
    )
    secrets = Secrets(kube, clock, max_age=settings.resync / 2)
    followed = Routers(session, settings.router_poll, lambda key: queue.add(key))
    applier = Applier(kube, cache, metrics)
    events = Events(applier.create_event, metrics, clock, _now, socket.gethostname())
    reconciler = Reconciler(applier, cache, surroundings, secrets, followed, events, metrics, _now)

    async def work(key: Key) -> float | None:
        try:
            return await reconciler.reconcile(key)
        except Exception:
            metrics.errors.labels(key.namespace, key.name).inc()
            raise

    queue: WorkQueue[Key] = WorkQueue(work, clock=clock, rng=rng, workers=settings.workers)
    kinds = [VECTOR_CACHE, *OBSERVED]
    if surroundings.service_monitors or not settings.watched:
        kinds.append(SERVICE_MONITOR)
    watches = Watches(cache, queue.add, kinds, settings.watched)
    resync = Resync(
        kube,
        cache,
        secrets,
        surroundings,
        metrics,
        queue.add,
        clock,
        rng,
        settings.resync,
        kinds,
        settings.watched,
    )
    app = health_app(Health(queue, resync, clock), queue, metrics)

    async def serve_when_started() -> None:
        await watches.started.wait()
        await run(app, settings.listen.host, settings.listen.port)  # replaces kopf's signal handlers

    async def work_when_filled() -> None:
        await resync.filled.wait()
        await queue.run()

    await _until_first_ends(
        serve_when_started(),
        watches.run(),
        work_when_filled(),
        resync.run(),
        followed.run(),
        events.run(),
        trim_periodically(),
    )


async def _until_first_ends(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all parts. When one ends or fails, cancel the others."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
    if late:
        structlog.get_logger().warning("parts did not stop in time", count=len(late))
    for task in done:
        task.result()


async def _wait_for_crd(kube: Kube) -> None:
    """Wait until the CRD is installed. kopf would not detect it later, and the installation may be in any order.

    Raises:
        VectorCacheError: the CRD is not installed in time.
    """
    for _ in range(CRD_SECONDS):
        try:
            if await kube.serves(VECTOR_CACHE):
                return
            structlog.get_logger().warning("the CRD vectorcaches.vectorcache.io is not installed yet")
        except VectorCacheError as error:
            structlog.get_logger().warning("waiting for the API", error=str(error))
        await asyncio.sleep(1)
    raise VectorCacheError(
        "the API server does not answer, or the CRD vectorcaches.vectorcache.io is not installed"
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _operator_namespace() -> str:
    """Return the namespace of the operator's pod, or the default namespace outside of a cluster."""
    try:
        return NAMESPACE_FILE.read_text().strip() or DEFAULT_NAMESPACE
    except OSError:
        return DEFAULT_NAMESPACE
