"""Commands over one connection to a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.llm.redis_server import redis_server

from vectorcache.errors import DeadlineExceeded, Unavailable
from vectorcache_llm.errors import Unsupported
from vectorcache_llm.similarity.redis.link import CommandLink


@pytest.mark.parametrize("option", ["", "?max_connections=2"])
async def test_more_calls_than_connections_take_turns(tmp_path: Path, option: str) -> None:
    with redis_server(tmp_path) as server:
        link = CommandLink(f"{server.url}{option}", deadline=5, max_connections=4)
        answers = await asyncio.gather(*(link.calls([("ECHO", number)]) for number in range(50)))
        assert answers == [[b"%d" % number] for number in range(50)]
        await link.close()


async def test_the_first_call_after_a_restart_succeeds(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        link = CommandLink(server.url, deadline=5, max_connections=1)
        assert await link.call("PING")
        server.kill()
        with pytest.raises(Unavailable):
            await link.call("PING")
        server.start_again()
        assert await link.call("PING")
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start_again)
        assert await link.call("PING"), "nobody called while it was away"
        await link.close()


@pytest.fixture
async def link(tmp_path: Path) -> AsyncIterator[CommandLink]:
    with redis_server(tmp_path) as server:
        link = CommandLink(f"{server.url}?protocol=2", deadline=0.5, max_connections=1)
        yield link
        await link.close()


async def test_arguments_of_every_kind_arrive_as_they_are(link: CommandLink) -> None:
    values = [b"\x00\r\n$5\r\n\xff", "naïve 🎉", "", 12, 0.1, 1e300]
    stored = await link.calls([("RPUSH", "list", *values), ("LRANGE", "list", 0, -1)])
    assert stored[0] == len(values)
    assert stored[1][:3] == [values[0], "naïve 🎉".encode(), b""]
    assert [float(value) for value in stored[1][3:]] == values[3:]


@pytest.mark.parametrize("atomic", [False, True])
async def test_an_error_in_the_middle_leaves_no_reply_unread(link: CommandLink, atomic: bool) -> None:
    """With one connection, an unread reply would be taken for that of the next call."""
    with pytest.raises(Unavailable, match="wrong number of arguments|WRONGTYPE") as caught:
        await link.calls([("SET", "a", "secret"), ("INCRBY", "a", "b", "c"), ("GET", "a")], atomic=atomic)
    assert "secret" not in str(caught.value)
    assert await link.calls([("ECHO", "x"), ("ECHO", "y")]) == [b"x", b"y"]


async def test_a_command_that_the_server_does_not_know_is_unsupported(link: CommandLink) -> None:
    with pytest.raises(Unsupported):
        await link.calls([("PING",), ("NO.SUCH", "a")])


async def test_a_late_reply_is_not_mistaken_for_another_calls(link: CommandLink) -> None:
    with pytest.raises(DeadlineExceeded):
        await link.calls([("BLPOP", "nothing", 1)])
    assert await link.calls([("ECHO", "x")]) == [b"x"]
