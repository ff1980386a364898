"""Middlewares for every request: they set its id, record metrics, log it, and turn errors into problem documents."""

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
"""Status in metrics and logs for a request whose caller disconnected before the response (nginx's convention)."""


class Observer:
    """Counts, times and logs requests."""

    def __init__(self, metrics: RequestMetrics) -> None:
        self._metrics = metrics
        self._log = structlog.get_logger().bind()

    def began(self) -> None:
        """Record the start of a request. Each call is followed by one of ``ended``."""
        self._metrics.in_flight.inc()

    def ended(self, route: str, method: str, status: int, seconds: float, *, logged: bool = True) -> None:
        """Record the end of a request."""
        self._metrics.in_flight.dec()
        self._metrics.observe(route, method, status, seconds)
        if logged:
            # Writing a line takes longer than routing a request, so successful requests are logged at debug level.
            log = self._log.debug if status < HTTPStatus.BAD_REQUEST else self._log.info
            log("request", method=method, route=route, status=status, ms=round(seconds * 1e3, 3))


def observing(
    observer: Observer,
    quiet: Collection[str],
    lasting: Collection[str] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> Middleware:
    """Return a middleware that sets the id of each request, and counts, times and logs it.

    Routes in ``quiet`` are not logged. Routes in ``lasting`` are long-lived connections and are not observed.
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
            raise  # the caller disconnected: aiohttp closes the connection
        return problem.respond(logged_problem(error))


def logged_problem(error: Exception) -> problem.Problem:
    """Return the problem document of the error being handled. Log the error if its status is 500 or more."""
    document = problem.problem_of(error, request_id.current())
    if document.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        structlog.get_logger().exception("request failed", type=document.type)
    elif document.status > HTTPStatus.INTERNAL_SERVER_ERROR:
        structlog.get_logger().warning("request failed", type=document.type, error=str(error))
    return document


class InFlightLimit:
    """A limit on the number of concurrent requests. Further requests raise ``Overloaded``. For one event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running = 0

    def __enter__(self) -> None:
        if self._running >= self._limit:
            raise Overloaded(f"the limit of {self._limit} concurrent requests is reached")
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
        raise error  # a redirect, not an error
    response = problem.respond(problem.http_problem_of(error, request_id.current()))
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
