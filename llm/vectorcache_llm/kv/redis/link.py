"""Calls to Redis: each within a deadline, with errors of ours, over a bounded pool that heals itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from vectorcache.errors import DeadlineExceeded, InvalidInput, Unavailable
from vectorcache_llm.extras import require
from vectorcache_llm.kv.checks import check_positive

if TYPE_CHECKING:
    from redis.asyncio import Redis

T = TypeVar("T")


class RedisLink:
    """A client and a deadline.

    A connection whose call was late is dropped, so that no answer is ever taken for another call's.

    Args:
        server: the URL (redis, rediss or unix), or a client of ``redis.asyncio`` that gives bytes and stays the
            caller's to close.
        deadline: seconds for each call, waiting for its turn included.
        max_connections: calls that are under way at once; more wait for their turn.

    Raises:
        MissingExtra: ``redis`` is not installed.
        InvalidInput: the URL or the client cannot be used.
    """

    def __init__(self, server: str | Redis, deadline: float, max_connections: int) -> None:
        check_positive(deadline=deadline, max_connections=max_connections)
        self._deadline = deadline
        self._errors = require("redis.exceptions", "redis")
        self._owned = isinstance(server, str)
        self.client: Any = _client(server, deadline, max_connections) if isinstance(server, str) else server
        if self.client.get_encoder().decode_responses:
            raise InvalidInput("client", "decode_responses=True", "a client that gives bytes")
        # A URL's own option or a client's pool may hold fewer, and not all pools wait.
        self._turns = asyncio.Semaphore(min(max_connections, self.client.connection_pool.max_connections))

    async def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Wait for a call of the client.

        Raises:
            DeadlineExceeded: it took too long.
            Unavailable: Redis is away, or refused.
        """
        try:
            async with asyncio.timeout(self._deadline), self._turns:
                return await call
        except (TimeoutError, self._errors.TimeoutError) as error:
            raise DeadlineExceeded(f"Redis: no answer within {self._deadline:g} s") from error
        except (self._errors.RedisError, OSError) as error:
            # A pipeline's error quotes its command, and with that what people wrote.
            quoted, _, said = str(error).rpartition(" of pipeline caused error: ")
            raise Unavailable(f"Redis: {said}") from (None if quoted else error)
        finally:
            call.close()  # where its turn never came

    async def close(self) -> None:
        """Close the connections, where the client is not the caller's; a second call does nothing."""
        if self._owned:
            await self.client.aclose()


def _client(url: str, deadline: float, max_connections: int) -> Any:
    redis = require("redis.asyncio", "redis")
    backoff = require("redis.backoff", "redis")
    retry = require("redis.asyncio.retry", "redis")
    try:
        pool = redis.ConnectionPool.from_url(
            url,
            max_connections=max_connections,
            protocol=2,  # read in half the time; by 3, a closed connection would be found by the call that uses it
            socket_timeout=None,  # ours holds for the whole call; one for each step costs as much as the server
            socket_connect_timeout=deadline,
            # What failed may have been done: only the caller knows whether doing it again is right.
            retry=retry.Retry(backoff.NoBackoff(), 0),
        )
    except ValueError as error:  # the URL may hold a password, so only its scheme is told
        allowed = "redis://, rediss:// or unix://, with valid options"
        scheme = url.partition("://")[0] if "://" in url else ""
        raise InvalidInput("url", f"{scheme}://...", allowed) from error
    return redis.Redis.from_pool(pool)
