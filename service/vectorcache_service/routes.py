"""A route: one declaration from which both the running endpoint and its OpenAPI are made."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from vectorcache_service.codec import read_body, write_body
from vectorcache_service.middleware import InFlightLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation of an HTTP API.

    ``handler`` is called with the decoded body, if ``request`` names its type, and with the path's
    parameters as keyword arguments; what it returns is encoded, what it raises becomes a problem.
    ``path`` names parameters as ``{name}``; ``patterns`` has the regular expression of each. ``errors`` are
    the statuses of problems that are this route's own; those of all routes are added.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[object]]
    summary: str
    response: Any
    request: Any = None
    patterns: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[int, ...] = ()
    status: int = 200

    @property
    def parameters(self) -> list[str]:
        """The names of the path's parameters, in its order."""
        return re.findall(r"{(\w+)}", self.path)

    def add_to(self, app: web.Application, limit: InFlightLimit, body_timeout: float) -> None:
        """Make the route's endpoint part of an application."""
        path = re.sub(r"{(\w+)}", lambda name: f"{{{name[1]}:{self.patterns[name[1]]}}}", self.path)
        endpoint = self._with_body(limit, body_timeout) if self.request else self._without_body(limit)
        app.router.add_route(self.method, path, endpoint)

    def _with_body(self, limit: InFlightLimit, timeout: float) -> Handler:
        async def endpoint(request: web.Request) -> web.StreamResponse:
            with limit:
                body = await read_body(request, self.request, timeout)
                answer = await self.handler(body, **request.match_info)
                return write_body(request, answer, self.status)

        return endpoint

    def _without_body(self, limit: InFlightLimit) -> Handler:
        async def endpoint(request: web.Request) -> web.StreamResponse:
            with limit:
                answer = await self.handler(**request.match_info)
                return write_body(request, answer, self.status)

        return endpoint
