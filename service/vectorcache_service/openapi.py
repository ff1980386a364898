"""The OpenAPI 3.1 document of a list of routes, generated from the msgspec types of requests and responses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from vectorcache_service import problem
from vectorcache_service.codec import MEDIA_TYPES
from vectorcache_service.problem import Problem
from vectorcache_service.routes import Route

Json = dict[str, Any]

_OF_ALL = (400, 500, 503, 504)
_OF_BODIES = (408, 413, 415)
_OF_PARAMETERS = (404,)
_BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"


def openapi(title: str, version: str, routes: Sequence[Route]) -> Json:
    """Return the OpenAPI document of the routes as JSON-compatible values."""
    models = {model for route in routes for model in (route.request, route.response) if model} | {Problem}
    ordered = sorted(models, key=repr)
    schemas, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(ordered, schemas, strict=True))
    paths: Json = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "schemas": _with_base64(components),
            "responses": {"Problem": _problem(schema_of[Problem])},
        },
    }


def _with_base64(node: Any) -> Any:
    """Return the schemas with a pattern added to base64 strings, because ``contentEncoding`` does not validate."""
    match node:
        case {"contentEncoding": "base64"}:
            return {**node, "pattern": _BASE64}
        case dict():
            return {key: _with_base64(child) for key, child in node.items()}
        case list():
            return [_with_base64(child) for child in node]
    return node


def _operation(route: Route, schema_of: dict[Any, Json]) -> Json:
    operation: Json = {
        "operationId": "_".join(re.findall(r"\w+", f"{route.method.lower()} {route.path}")),
        "summary": route.summary,
        "responses": _responses(route, schema_of[route.response]),
    }
    if route.parameters:
        operation["parameters"] = [_parameter(name, route.patterns[name]) for name in route.parameters]
    if route.request:
        operation["requestBody"] = {"required": True, "content": _content(schema_of[route.request])}
    return operation


def _responses(route: Route, schema: Json) -> Json:
    statuses = {*_OF_ALL, *route.errors}
    statuses.update(_OF_BODIES if route.request else ())
    statuses.update(_OF_PARAMETERS if route.parameters else ())
    success = {"description": HTTPStatus(route.status).phrase, "content": _content(schema)}
    reference = {"$ref": "#/components/responses/Problem"}
    problems = {str(status): reference for status in sorted(statuses)}
    return {str(route.status): success, **problems, "default": reference}


def _content(schema: Json) -> Json:
    return {media_type: {"schema": schema} for media_type in MEDIA_TYPES}


def _parameter(name: str, pattern: str) -> Json:
    schema = {"type": "string", "pattern": f"^{pattern}$"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _problem(schema: Json) -> Json:
    return {"description": "A problem (RFC 9457)", "content": {problem.CONTENT_TYPE: {"schema": schema}}}
