"""The client of a cache node, which calls it over its stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

import aiohttp
import msgspec
import numpy as np

from vectorcache.errors import InvalidInput, NotFound, Unavailable
from vectorcache.index.node import SearchNode
from vectorcache.index.options import CALLEE_SHARE
from vectorcache.index.query import CellAnswer, CellQuery, StoredVector
from vectorcache.wire import internal
from vectorcache_router.channel import Channel
from vectorcache_service.app import STREAM_PATH
from vectorcache_service.problem import Problem
from vectorcache_service.stream import OK, Reply

SEARCH, PREFETCH, VECTORS, KEPT = "/v1/search", "/v1/prefetch", "/v1/vectors", "/v1/kept"

_search_response = msgspec.msgpack.Decoder(CellAnswer).decode
_prefetch_response = msgspec.msgpack.Decoder(internal.PrefetchResponse).decode
_fetch_response = msgspec.msgpack.Decoder(internal.FetchResponse).decode
_kept_response = msgspec.msgpack.Decoder(internal.KeptResponse).decode
_problem = msgspec.msgpack.Decoder(Problem).decode

R = TypeVar("R")
_Request: TypeAlias = (
    internal.NodeSearchRequest | internal.PrefetchRequest | internal.FetchRequest | internal.KeptRequest
)


class RemoteNode(SearchNode):
    """The client of one node's API.

    Args:
        name: name of the node on the ring.
        url: base URL of the node.
        session: shared by all nodes of a router. The caller closes it.
    """

    def __init__(self, name: str, url: str, session: aiohttp.ClientSession) -> None:
        self._name = name
        self._url = url.rstrip("/")
        self._channel = Channel(self._url + STREAM_PATH, session)

    @property
    def name(self) -> str:
        """See ``SearchNode.name``."""
        return self._name

    @property
    def url(self) -> str:
        """The base URL."""
        return self._url

    async def search(self, query: CellQuery) -> CellAnswer:
        """See ``SearchNode.search``."""
        request = internal.node_request(query)
        answer = await self._call(SEARCH, request, _search_response, query.options.timeout / CALLEE_SHARE)
        if len(answer.hits) != len(query.cells):
            raise Unavailable(f"node {self._name!r} did not answer all queries")
        return answer

    async def prefetch(self, collection: str, version: int, chunks: Sequence[int], timeout: float) -> int:
        """See ``SearchNode.prefetch``."""
        request = internal.PrefetchRequest(
            collection=collection, version=version, chunks=list(chunks), timeout=timeout
        )
        return (await self._call(PREFETCH, request, _prefetch_response, timeout / CALLEE_SHARE)).loaded

    async def fetch(
        self, collection: str, version: int, chunk: int, positions: Sequence[int], timeout: float = 10.0
    ) -> list[StoredVector]:
        """See ``SearchNode.fetch``."""
        request = internal.FetchRequest(
            collection=collection, version=version, chunk=chunk, positions=list(positions)
        )
        found = (await self._call(VECTORS, request, _fetch_response, timeout)).vectors
        return [StoredVector(one.id, np.array(one.vector, dtype=np.float32), one.payload) for one in found]

    async def kept(self, key: str, timeout: float) -> bytes:
        """Return the node's copy of a metadata blob.

        Raises:
            NotFound: the node has no copy.
            Unavailable: the node did not respond in time.
        """
        return (await self._call(KEPT, internal.KeptRequest(key=key), _kept_response, timeout)).data

    async def close(self) -> None:
        """Wait for running calls and close the connection. Later calls raise ``Unavailable``."""
        await self._channel.close()

    async def _call(
        self, path: str, request: _Request, decode: Callable[[msgspec.Raw], R], timeout: float
    ) -> R:
        try:
            reply = await self._channel.call(path, request, timeout)
        except (Unavailable, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"node {self._name!r} does not respond: {reason}") from error
        if reply.status != OK:
            raise self._error(reply, request)
        try:
            return decode(reply.response)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unavailable(f"node {self._name!r} sent an invalid response: {error}") from error

    def _error(self, reply: Reply, request: _Request) -> Exception:
        status = reply.status
        try:
            problem = _problem(reply.response)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Unavailable(f"node {self._name!r} responded with status {status}")
        if status in (400, 413):
            allowed = problem.allowed or problem.detail or problem.title
            return InvalidInput(problem.field or "request", problem.value, allowed)
        if status == 404:
            if isinstance(request, internal.KeptRequest):
                return NotFound("blob", request.key)
            return NotFound("version", f"{request.collection}/v{request.version}")
        return Unavailable(f"node {self._name!r} responded with status {status}: {problem.title}")
