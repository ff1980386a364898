"""Calls to Redis with deadlines and translated errors, over a bounded connection pool."""

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
    """A Redis client with a deadline.

    The connection of a call that timed out is dropped, so that a late reply is not mistaken for another call's.

    Args:
        server: a URL (redis, rediss or unix), or a client of ``redis.asyncio`` without ``decode_responses``, which the
            caller closes.
        deadline: time limit of each call in seconds, including the wait for a connection.
        max_connections: maximum number of concurrent calls; further calls wait.

    Raises:
        MissingExtra: ``redis`` is not installed.
        InvalidInput: the URL or the client is not valid.
    """

    def __init__(self, server: str | Redis, deadline: float, max_connections: int) -> None:
        check_positive(deadline=deadline, max_connections=max_connections)
        self._deadline = deadline
        self._errors = require("redis.exceptions", "redis")
        self._owned = isinstance(server, str)
        self.client: Any = _client(server, deadline, max_connections) if isinstance(server, str) else server
        if self.client.get_encoder().decode_responses:
            raise InvalidInput("client", "decode_responses=True", "a client without decode_responses")
        # The URL or the client may limit the pool further, and not every pool waits for a free connection.
        self._turns = asyncio.Semaphore(min(max_connections, self.client.connection_pool.max_connections))

    async def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Await a call of the client within the deadline.

        Raises:
            DeadlineExceeded: the deadline passed.
            Unavailable: Redis is unreachable, or returned an error.
        """
        try:
            async with asyncio.timeout(self._deadline), self._turns:
                return await call
        except (TimeoutError, self._errors.TimeoutError) as error:
            raise DeadlineExceeded(f"Redis: no answer within {self._deadline:g} s") from error
        except (self._errors.RedisError, OSError) as error:
            # The error of a pipeline quotes its command, which may contain user data.
            quoted, _, message = str(error).rpartition(" of pipeline caused error: ")
            raise Unavailable(f"Redis: {message}") from (None if quoted else error)
        finally:
            call.close()  # in case it was never awaited

    async def close(self) -> None:
        """Close the connections, unless the caller owns the client; a second call does nothing."""
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
            # RESP2 is parsed in half the time. With RESP3, a closed connection is noticed only by the next call.
            protocol=2,
            socket_timeout=None,  # the deadline covers the whole call, and a timeout per read is expensive
            socket_connect_timeout=deadline,
            # A failed command may have been executed, so only the caller can decide whether to retry.
            retry=retry.Retry(backoff.NoBackoff(), 0),
        )
    except ValueError as error:  # the URL may contain a password, so only its scheme is reported
        allowed = "redis://, rediss:// or unix://, with valid options"
        scheme = url.partition("://")[0] if "://" in url else ""
        raise InvalidInput("url", f"{scheme}://...", allowed) from error
    return redis.Redis.from_pool(pool)
