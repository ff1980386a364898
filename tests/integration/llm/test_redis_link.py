"""Commands over one connection to a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.redis_server import redis_server

from vectorcache.errors import DeadlineExceeded, Unavailable
from vectorcache_llm.errors import Unsupported
from vectorcache_llm.similarity.redis.link import CommandLink


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
async def test_an_error_in_the_middle_leaves_no_answer_behind(link: CommandLink, atomic: bool) -> None:
    """With one connection, an answer left unread would be taken for the next call's."""
    with pytest.raises(Unavailable, match="wrong number of arguments|WRONGTYPE") as caught:
        await link.calls([("SET", "a", "secret"), ("INCRBY", "a", "b", "c"), ("GET", "a")], atomic=atomic)
    assert "secret" not in str(caught.value)
    assert await link.calls([("ECHO", "x"), ("ECHO", "y")]) == [b"x", b"y"]


async def test_a_command_that_the_server_does_not_know_is_unsupported(link: CommandLink) -> None:
    with pytest.raises(Unsupported):
        await link.calls([("PING",), ("NO.SUCH", "a")])


async def test_the_answer_of_a_late_call_is_nobody_elses(link: CommandLink) -> None:
    with pytest.raises(DeadlineExceeded):
        await link.calls([("BLPOP", "nothing", 1)])
    assert await link.calls([("ECHO", "x")]) == [b"x"]
