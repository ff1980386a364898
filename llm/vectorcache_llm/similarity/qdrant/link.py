"""The one place of this package that speaks to Qdrant: each call within a deadline, with errors of ours."""

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
    """The collection is not there."""


class Conflicting(Unavailable):
    """It is there already."""


class QdrantLink:
    """A client and a deadline.

    Args:
        server: its URL, or a client (``AsyncQdrantClient``), which stays the caller's to close.
        deadline: seconds for each call.
        options: of the client that is made for a URL.
    """

    def __init__(self, server: str | Any, deadline: float, options: dict[str, Any]) -> None:
        if not deadline > 0:
            raise InvalidInput("deadline", deadline, "more than 0 seconds")
        qdrant = require("qdrant_client", "qdrant")
        self._errors = _errors()
        self._deadline = deadline
        self._own = isinstance(server, str)
        self.models = qdrant.models
        self.client: Any = server
        if self._own:
            # The client's own limit, 5 s by default, must not end a call before its deadline.
            longer = math.ceil(min(deadline, _DAY)) + 1
            settings = {"check_compatibility": False, "timeout": longer, **options}
            self.client = qdrant.AsyncQdrantClient(url=server, **settings)

    async def run(self, call: Awaitable[T]) -> T:
        """Wait for a call of the client.

        Raises:
            Missing: the collection is not there.
            Conflicting: what was to be made is there.
            Unavailable: not done within the deadline, or the server is away or refused.
        """
        try:
            async with asyncio.timeout(self._deadline):
                return await call
        except TimeoutError as error:
            raise DeadlineExceeded(f"Qdrant: no answer within {self._deadline:g} s") from error
        except self._errors as error:
            raise _kind(error)(f"Qdrant: {error}") from error

    async def close(self) -> None:
        """Close the client, if it is our own; a second call does nothing."""
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
