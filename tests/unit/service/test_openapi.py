from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.support.service.app import Api, Client

from vectorcache_service.openapi import openapi

SEARCH = "/v1/collections/{collection}/search"


async def test_the_document_describes_every_route(client: Client) -> None:
    response = await client.get("/openapi.json")
    document = await response.json()
    assert response.content_type == "application/json"
    assert document["openapi"].startswith("3.1")
    assert document["info"] == {"title": "test", "version": "1.2.3"}
    operations = {(path, method) for path, item in document["paths"].items() for method in item}
    assert operations == {(SEARCH, "post"), ("/v1/block", "get"), ("/v1/fail/{error}", "post")}


def test_an_operation_has_parameters_body_answers_and_problems() -> None:
    operation = openapi("test", "1", Api().routes())["paths"][SEARCH]["post"]
    assert operation["operationId"] == "post_v1_collections_collection_search"
    assert operation["parameters"] == [
        {
            "name": "collection",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,31}$"},
        }
    ]
    body = operation["requestBody"]["content"]
    assert body["application/json"] == {"schema": {"$ref": "#/components/schemas/Search"}}
    assert set(body) == {"application/json", "application/msgpack"}
    expected = {"200", "400", "404", "408", "413", "415", "500", "503", "504", "default"}
    assert set(operation["responses"]) == expected


def test_every_schema_is_valid_and_every_reference_leads_somewhere() -> None:
    document = openapi("test", "1", Api().routes())
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for reference in references(document):
        target = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def references(node: object) -> Iterator[str]:
    match node:
        case {"$ref": str(reference)}:
            yield reference
        case dict():
            for child in node.values():
                yield from references(child)
        case list():
            for child in node:
                yield from references(child)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The toy API on a thread of its own, because schemathesis is not asynchronous."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[web.AppRunner, str]:
        runner = web.AppRunner(Api().app(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, site.name

    runner, address = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    yield address
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_the_server_conforms_to_its_openapi_document(url: str) -> None:
    document = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operation = document[SEARCH]["POST"]
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))

    @given(cases)
    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: schemathesis.Case[Any]) -> None:
        # JSON Schema calls 5.0 an integer; msgspec, on purpose, does not.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    check()
