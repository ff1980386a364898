from __future__ import annotations

import asyncio

import pytest

from vectorcache_service import request_id


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 128])
async def test_a_well_formed_id_is_kept(given: str) -> None:
    assert request_id.begin(given) == request_id.current() == given
    assert request_id.outgoing_headers() == {"X-Request-ID": given}


@pytest.mark.parametrize("given", [None, "", "x" * 129, "a b", "a\n", "é", '"'])
async def test_another_gets_a_new_one(given: str | None) -> None:
    first, second = request_id.begin(given), request_id.begin(given)
    assert first != second
    assert request_id.begin(first) == first


async def test_each_task_has_its_own() -> None:
    async def task(name: str) -> str | None:
        request_id.begin(name)
        await asyncio.sleep(0)
        return request_id.current()

    assert tuple(await asyncio.gather(task("a"), task("b"))) == ("a", "b")
    assert request_id.current() is None
    assert request_id.outgoing_headers() == {}
