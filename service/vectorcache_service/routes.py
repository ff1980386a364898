"""A route: one declaration that defines both the endpoint and its OpenAPI description."""

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

    ``handler`` is called with the decoded body, if ``request`` is its type, and with the path parameters as keyword
    arguments. Its return value is encoded as the response, and errors that it raises become problem documents.
    ``path`` contains parameters as ``{name}``, and ``patterns`` maps each to its regular expression. ``errors`` lists
    the problem statuses specific to this route; the common ones are added.
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
        """The names of the path parameters, in order."""
        return re.findall(r"{(\w+)}", self.path)

    def add_to(self, app: web.Application, limit: InFlightLimit, body_timeout: float) -> None:
        """Add the endpoint of the route to an application."""
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
