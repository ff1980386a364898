from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from vectorcache.errors import Conflict, InvalidInput, Unavailable
from vectorcache.routing.ring import HashRing
from vectorcache_router.membership import (
    FileMembership,
    Members,
    Membership,
    StaticMembership,
    check_nodes,
    parse_nodes,
)

ONE = {"node-0": "http://127.0.0.1:1"}
TWO = ONE | {"node-1": "http://127.0.0.1:2"}


def write(path: Path, nodes: Mapping[str, str]) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode({"nodes": nodes}))
    temporary.replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nodes.json"


@pytest.fixture
def membership(path: Path) -> FileMembership:
    return FileMembership(path, poll_seconds=0.001)


async def following(changes: AsyncGenerator[Members]) -> Mapping[str, str]:
    return (await asyncio.wait_for(anext(changes), 5)).urls


async def test_a_fixed_list_is_yielded_once() -> None:
    membership: Membership = StaticMembership(TWO)
    assert [members async for members in membership.changes()] == [Members(TWO)]
    assert await membership.desired() == 2
    with pytest.raises(Conflict, match="--nodes-file"):
        await membership.resize(3)


async def test_a_file_may_appear_late_and_is_followed(path: Path, membership: FileMembership) -> None:
    async with aclosing(membership.changes()) as changes:
        first = asyncio.create_task(following(changes))
        await asyncio.sleep(0)
        assert not first.done()
        write(path, ONE)
        assert await first == ONE
        for nodes in (TWO, {}, ONE):
            write(path, nodes)
            assert await following(changes) == nodes


BAD = {
    "torn": b'{"nodes": {"node-0": "htt',
    "empty": b"",
    "of another shape": b'{"nodes": ["node-0"]}',
    "with an unknown field": b'{"nodes": {}, "extra": 1}',
    "not text": b'{"nodes": {"node-0": "\xff\xfe"}}',
    "nested": b'{"nodes": ' + b"[" * 100_000,
    "no url": b'{"nodes": {"node-0": "127.0.0.1:1"}}',
    "a name that no ring takes": b'{"nodes": {"' + b"n" * 254 + b'": "http://127.0.0.1:1"}}',
    "a url that cannot be": b'{"nodes": {"node-0": "http://[bad"}}',
    "a port that cannot be": b'{"nodes": {"node-0": "http://127.0.0.1:99999"}}',
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
async def test_an_invalid_file_changes_nothing_and_is_logged_once(
    path: Path, membership: FileMembership, content: bytes
) -> None:
    looks = 0
    read = membership._read

    def counted() -> Mapping[str, str] | None:
        nonlocal looks
        looks += 1
        return read()

    membership._read = counted  # type: ignore[method-assign]
    with capture_logs() as logs:
        async with aclosing(membership.changes()) as changes:
            write(path, ONE)
            assert await following(changes) == ONE
            assert membership.warnings() == []
            path.write_bytes(content)
            after = asyncio.create_task(following(changes))
            seen = looks
            async with asyncio.timeout(5):
                while looks < seen + 5:  # noqa: ASYNC110 - a thread looks, not a task
                    await asyncio.sleep(0.001)
            assert not after.done()
            (warning,) = membership.warnings()
            assert warning.startswith("the nodes file cannot be used: ")
            write(path, TWO)
            assert await after == TWO
            assert membership.warnings() == []
    assert [log["event"] for log in logs] == ["nodes file cannot be used"]


async def test_a_resize_is_written_atomically_beside_the_file(path: Path, membership: FileMembership) -> None:
    assert await membership.desired() is None
    await asyncio.gather(*(membership.resize(count) for count in range(1, 33)))
    wanted = msgspec.json.decode((path.parent / "wanted.json").read_bytes())
    assert wanted["count"] in range(1, 33)
    assert await membership.desired() == wanted["count"]
    assert os.listdir(path.parent) == ["wanted.json"], "no temporary file stays"


async def test_a_wish_that_cannot_be_written_is_unavailable(path: Path) -> None:
    path.write_text("a file, no folder")
    with pytest.raises(Unavailable, match=r"wanted\.json"):
        await FileMembership(path / "nodes.json").resize(3)


async def test_an_invalid_wanted_file_is_ignored(path: Path, membership: FileMembership) -> None:
    for content in (b"", b"\xff", b'{"count": "many"}'):
        path.with_name("wanted.json").write_bytes(content)
        assert await membership.desired() is None


def test_nodes_are_read_from_text() -> None:
    assert parse_nodes("node-0=http://127.0.0.1:1, node-1=http://127.0.0.1:2,") == TWO


@pytest.mark.parametrize(
    "text",
    [
        "",
        " , ",
        "node-0",
        "=http://127.0.0.1:1",
        "node-0=",
        "node-0=ftp://127.0.0.1",
        "node-0=http://",
        "node-0=http://h?x=1",
        "node 0=http://127.0.0.1:1",
        "node-0=http://127.0.0.1:1,node-0=http://127.0.0.1:2",
    ],
)
def test_bad_text_is_refused_by_its_flag(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_nodes(text)
    assert refused.value.field == "--nodes"


def test_valid_names_can_be_put_on_a_ring() -> None:
    nodes = {"n" * 253: "https://example.test", "A.b_c-9": "http://[::1]:8101/base"}
    assert HashRing(check_nodes(nodes)).nodes == tuple(sorted(nodes))
