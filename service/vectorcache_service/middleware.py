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


def observing(
    metrics: RequestMetrics, quiet: Collection[str], clock: Callable[[], float] = time.perf_counter
) -> Middleware:
    """A middleware that names, counts, times and logs each request; routes in ``quiet`` are not logged."""
    log = structlog.get_logger().bind()

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = clock()
        identity = request_id.begin(request.headers.get(request_id.HEADER))
        route, method = _labels(request)
        status = CALLER_GONE
        metrics.in_flight.inc()
        try:
            response = await handler(request)
            status = response.status
            response.headers[request_id.HEADER] = identity
            return response
        finally:
            seconds = clock() - started
            metrics.in_flight.dec()
            metrics.observe(route, method, status, seconds)
            if route not in quiet:
                milliseconds = round(seconds * 1e3, 3)
                # A line takes longer to write than a request to route: those that went well are for debugging.
                tell = log.debug if status < HTTPStatus.BAD_REQUEST else log.info
                tell("request", method=method, route=route, status=status, ms=milliseconds)

    return observe


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with a problem document, and log with its trace what is not the caller's fault."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _answer_http(error)
    except Exception as error:
        if request.transport is None:
            raise  # the caller is gone; aiohttp ends the connection
        told = problem.problem_of(error, request_id.current())
        if told.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            structlog.get_logger().exception("request failed", type=told.type)
        elif told.status > HTTPStatus.INTERNAL_SERVER_ERROR:
            structlog.get_logger().warning("request failed", type=told.type, error=str(error))
        return problem.respond(told)


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
