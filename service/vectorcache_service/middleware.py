"""What surrounds every request: its id, metrics and log line, and errors turned into problem documents."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from http import HTTPStatus
from types import TracebackType

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from vectorcache.errors import Overloaded
from vectorcache_service import problem, request_id
from vectorcache_service.metrics import RequestMetrics

UNMATCHED = "unmatched"
CALLER_GONE = 499
"""The status that is counted and logged where the caller hung up before its answer (nginx's convention)."""


class Observer:
    """Counts, times and logs requests."""

    def __init__(self, metrics: RequestMetrics) -> None:
        self._metrics = metrics
        self._log = structlog.get_logger().bind()

    def began(self) -> None:
        """One request has come; ``ended`` is to follow."""
        self._metrics.in_flight.inc()

    def ended(self, route: str, method: str, status: int, seconds: float, *, logged: bool = True) -> None:
        """It has ended."""
        self._metrics.in_flight.dec()
        self._metrics.observe(route, method, status, seconds)
        if logged:
            # A line takes longer to write than a request to route: those that went well are for debugging.
            tell = self._log.debug if status < HTTPStatus.BAD_REQUEST else self._log.info
            tell("request", method=method, route=route, status=status, ms=round(seconds * 1e3, 3))


def observing(
    observer: Observer,
    quiet: Collection[str],
    lasting: Collection[str] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> Middleware:
    """A middleware that names, counts, times and logs each request.

    Routes in ``quiet`` are not logged; those in ``lasting`` are connections, not requests, and left alone.
    """

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        route, method = _labels(request)
        if route in lasting:
            return await handler(request)
        started = clock()
        identity = request_id.begin(request.headers.get(request_id.HEADER))
        status = CALLER_GONE
        observer.began()
        try:
            response = await handler(request)
            status = response.status
            response.headers[request_id.HEADER] = identity
            return response
        finally:
            observer.ended(route, method, status, clock() - started, logged=route not in quiet)

    return observe


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with a problem document."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _answer_http(error)
    except Exception as error:
        if request.transport is None:
            raise  # the caller is gone; aiohttp ends the connection
        return problem.respond(problem_told(error))


def problem_told(error: Exception) -> problem.Problem:
    """The problem document of an error that is being handled; what is not the caller's fault is logged."""
    told = problem.problem_of(error, request_id.current())
    if told.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        structlog.get_logger().exception("request failed", type=told.type)
    elif told.status > HTTPStatus.INTERNAL_SERVER_ERROR:
        structlog.get_logger().warning("request failed", type=told.type, error=str(error))
    return told


class InFlightLimit:
    """Admits a bounded number of requests at once; one more is ``Overloaded``. Of one event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running = 0

    def __enter__(self) -> None:
        if self._running >= self._limit:
            raise Overloaded(f"{self._limit} requests run already")
        self._running += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running -= 1


def _labels(request: web.Request) -> tuple[str, str]:
    resource = request.match_info.route.resource
    return (resource.canonical, request.method) if resource else (UNMATCHED, UNMATCHED)


def _answer_http(error: web.HTTPException) -> web.Response:
    if error.status < HTTPStatus.BAD_REQUEST:
        raise error  # a redirection is no problem
    response = problem.respond(problem.http_problem_of(error, request_id.current()))
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
