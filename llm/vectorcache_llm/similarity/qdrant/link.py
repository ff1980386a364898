"""Calls to Qdrant with deadlines and translated errors."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from typing import Any, TypeVar

from vectorcache.errors import DeadlineExceeded, InvalidInput, Unavailable
from vectorcache_llm.extras import require

T = TypeVar("T")

_DAY = 86_400.0


class Missing(Unavailable):
    """The collection does not exist."""


class Conflicting(Unavailable):
    """The collection exists already."""


class QdrantLink:
    """A Qdrant client with a deadline.

    Args:
        server: a URL, or a client (``AsyncQdrantClient``), which the caller closes.
        deadline: time limit of each call, in seconds.
        options: options of the client that is created for a URL.
    """

    def __init__(self, server: str | Any, deadline: float, options: dict[str, Any]) -> None:
        if not deadline > 0:
            raise InvalidInput("deadline", deadline, "a number of seconds greater than 0")
        qdrant = require("qdrant_client", "qdrant")
        self._errors = _errors()
        self._deadline = deadline
        self._own = isinstance(server, str)
        self.models = qdrant.models
        self.client: Any = server
        if self._own:
            # The client's timeout, 5 s by default, must not end a call before the deadline.
            longer = math.ceil(min(deadline, _DAY)) + 1
            settings = {"check_compatibility": False, "timeout": longer, **options}
            self.client = qdrant.AsyncQdrantClient(url=server, **settings)

    async def run(self, call: Awaitable[T]) -> T:
        """Await a call of the client within the deadline.

        Raises:
            Missing: the collection does not exist.
            Conflicting: the object to be created exists already.
            Unavailable: the deadline passed, or the server is unreachable or rejected the call.
        """
        try:
            async with asyncio.timeout(self._deadline):
                return await call
        except TimeoutError as error:
            raise DeadlineExceeded(f"Qdrant: no answer within {self._deadline:g} s") from error
        except self._errors as error:
            raise _kind(error)(f"Qdrant: {error}") from error

    async def close(self) -> None:
        """Close the client, unless the caller owns it; a second call does nothing."""
        if self._own:
            await self.client.close()


def _errors() -> tuple[type[BaseException], ...]:
    responses = require("qdrant_client.http.exceptions", "qdrant")
    limits = require("qdrant_client.common.client_exceptions", "qdrant")
    grpc = require("grpc", "qdrant")
    return (responses.ApiException, limits.QdrantException, grpc.RpcError, OSError)


def _kind(error: BaseException) -> type[Unavailable]:
    kinds: dict[Any, type[Unavailable]] = {404: Missing, 409: Conflicting}
    return kinds.get(getattr(error, "status_code", None), Unavailable)
