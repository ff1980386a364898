"""The asynchronous client of a router. The only module of this package that uses HTTP."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import aiohttp
import msgspec
import numpy as np
from numpy.typing import ArrayLike
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

import vectorcache
from vectorcache.errors import DeadlineExceeded, InvalidInput, Unavailable
from vectorcache.index.manifest import check_collection
from vectorcache.index.options import CALLEE_SHARE, MAX_TIMEOUT, SearchKeywords
from vectorcache.stores.retrying import RetryPolicy
from vectorcache.vectors.metric import Floats, as_vectors
from vectorcache.wire import public
from vectorcache_client.problems import error_of

T = TypeVar("T")

MSGPACK = "application/msgpack"
CONNECT_SECONDS = 2.0

_HEADERS = {
    "Content-Type": MSGPACK,
    "Accept": MSGPACK,
    "Accept-Encoding": "identity",
    "User-Agent": f"vectorcache/{vectorcache.__version__}",
}


def _plain(value: object) -> object:
    """Return a NumPy scalar as a Python number: ids and k are often taken from arrays."""
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"a value of type {type(value).__name__} cannot be encoded")


_encode = msgspec.msgpack.Encoder(enc_hook=_plain).encode
_search_response = msgspec.msgpack.Decoder(public.SearchResponse).decode
_vectors_response = msgspec.msgpack.Decoder(public.VectorsResponse).decode
_collection_list = msgspec.msgpack.Decoder(public.CollectionList).decode
_collection_info = msgspec.msgpack.Decoder(public.CollectionInfo).decode
_ring_info = msgspec.msgpack.Decoder(public.RingInfo).decode
_node_count = msgspec.msgpack.Decoder(public.NodeCount).decode


class AsyncClient:
    """An asynchronous client that searches collections through a router.

        async with AsyncClient("http://127.0.0.1:8100") as client:
            found = await client.search("glove", vector, k=5)
            print([hit.id for hit in found.results[0].hits])

    Transient failures (``Unavailable``, ``Overloaded``, connection errors) are retried with exponential backoff and
    jitter, as often as ``retry`` allows and within the call's deadline. All calls may run concurrently, on the event
    loop of the first one. Every call may raise ``InvalidInput``, ``NotFound``, ``Conflict``, ``DeadlineExceeded``,
    ``Unavailable``, and ``VectorCacheError`` if the server failed.

    Args:
        url: base URL of the router.
        timeout: seconds for a call including its retries, unless the call sets its own.
        connections: maximum number of concurrent requests; further requests wait.
        retry: number of attempts and the delays between them; its timeouts per attempt are not used.
        rng: source of the jitter.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 10.0,
        connections: int = 100,
        retry: RetryPolicy | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidInput("url", url, "http://host:port or https://host:port")
        if connections < 1:
            raise InvalidInput("connections", connections, "at least 1")
        self._url = url.rstrip("/")
        self._timeout = _check_timeout(timeout)
        self._connections = connections
        self._retry = retry or RetryPolicy(attempts=4)
        self._rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        self._opened: aiohttp.ClientSession | None = None
        self._closed = False

    async def search(
        self,
        collection: str,
        vectors: ArrayLike,
        k: int | None = None,
        **options: Unpack[SearchKeywords],
    ) -> public.SearchResponse:
        """Return the k nearest neighbours of one vector (d,) or of each of a batch (b, d); one result per vector.

        Args:
            collection: name of the collection.
            vectors: finite numbers.
            k: number of neighbours; the router's default is 10.
            options: see ``vectorcache.SearchOptions``. The timeout applies to the whole call, including retries.
        """
        queries = _as_batch(vectors)
        timeout = options.get("timeout")
        if timeout is not None:
            options["timeout"] = min(timeout * CALLEE_SHARE, MAX_TIMEOUT)
        request = public.SearchRequest(vectors=queries.tobytes(), k=k, **options)
        path = f"/v1/collections/{check_collection(collection)}/search"
        found = _search_response(await self._post(path, request, timeout))
        if len(found.results) != len(queries):
            # Vectors are sent as raw bytes without their dimension, so a wrong one shows in the number of results.
            expected = (await self.collection(collection)).dimension
            raise InvalidInput("vectors", f"dimension {queries.shape[1]}", f"dimension {expected}")
        return found

    async def vectors(
        self, collection: str, ids: Sequence[int | str], *, version: int | None = None
    ) -> public.VectorsResponse:
        """Return vectors and payloads by id. Ids that the collection does not contain are listed in ``missing``."""
        request = public.VectorsRequest(ids=list(ids), version=version)
        path = f"/v1/collections/{check_collection(collection)}/vectors"
        return _vectors_response(await self._post(path, request))

    async def collections(self) -> list[public.CollectionInfo]:
        """Return all collections, sorted by name."""
        return _collection_list(await self._get("/v1/collections")).collections

    async def collection(self, collection: str) -> public.CollectionInfo:
        """Return information about the served version of a collection."""
        return _collection_info(await self._get(f"/v1/collections/{check_collection(collection)}"))

    async def ring(self) -> public.RingInfo:
        """Return the nodes on the ring and the number of slots that each owns."""
        return _ring_info(await self._get("/v1/ring"))

    async def node_count(self) -> public.NodeCount:
        """Return the desired and the actual number of nodes."""
        return _node_count(await self._get("/v1/nodes/count"))

    async def set_node_count(self, count: int) -> public.NodeCount:
        """Set the desired number of nodes. Nodes start and stop asynchronously, see ``node_count``."""
        return _node_count(await self._post("/v1/nodes/count", public.NodeCountRequest(count=count)))

    async def ready(self) -> bool:
        """Return whether the server responds and is ready. Makes one request, without retries."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._once("GET", "/readyz", None)
        except (Unavailable, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        """Close the connections. A second call does nothing."""
        self._closed = True
        session, self._opened = self._opened, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _get(self, path: str) -> bytes:
        return await self._call("GET", path, None, self._timeout)

    async def _post(self, path: str, message: object, timeout: float | None = None) -> bytes:
        seconds = self._timeout if timeout is None else _check_timeout(timeout)
        return await self._call("POST", path, _encode(message), seconds)

    async def _call(self, method: str, path: str, body: bytes | None, seconds: float) -> bytes:
        async def attempt() -> bytes:
            return await self._once(method, path, body)

        try:
            async with asyncio.timeout(seconds) as scope:
                return await self._with_retries(attempt)
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise DeadlineExceeded(
                f"{method} {self._url}{path}: not completed within {seconds:g} s"
            ) from error

    async def _with_retries(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call and retry it. The first attempt avoids tenacity, which costs a third of a successful call."""
        try:
            return await call()
        except Unavailable as error:
            if self._retry.attempts == 1 or not _is_transient(error):
                raise
        await asyncio.sleep(self._retry.wait(1, self._rng))
        again = AsyncRetrying(
            retry=retry_if_exception(_is_transient),
            stop=stop_after_attempt(self._retry.attempts - 1),
            wait=lambda state: self._retry.wait(state.attempt_number + 1, self._rng),
            reraise=True,
        )
        return await again(call)

    async def _once(self, method: str, path: str, body: bytes | None) -> bytes:
        what = f"{method} {self._url}{path}"
        try:
            async with self._session().request(
                method, self._url + path, data=body, headers=_HEADERS, allow_redirects=False
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{what}: {error or type(error).__name__}") from error
        if response.status >= 300:
            raise error_of(response.status, answer, what)
        return answer

    def _session(self) -> aiohttp.ClientSession:
        """Return the session. The first call opens it, because a session belongs to the running event loop."""
        if self._opened is None:
            if self._closed:
                raise Unavailable("the client is closed")
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                auto_decompress=False,
            )
        return self._opened


def _is_transient(error: BaseException) -> bool:
    """Return whether a retry may help. After a timeout in the router, a retry would take as long again."""
    return isinstance(error, Unavailable) and not isinstance(error, DeadlineExceeded)


def _as_batch(vectors: ArrayLike) -> Floats:
    """Return vectors (b, d), or one vector (d,), as little-endian float32 (b, d)."""
    try:
        array = np.asarray(vectors)
    except ValueError as error:
        raise InvalidInput("vectors", vectors, "vectors of numbers, all of the same length") from error
    batch = as_vectors(array[None] if array.ndim == 1 else array, "vectors")
    if not len(batch):
        raise InvalidInput("vectors", "an empty batch", "at least one vector")
    return batch.astype("<f4", copy=False)


def _check_timeout(timeout: float) -> float:
    if not timeout > 0:
        raise InvalidInput("timeout", timeout, "more than 0 seconds")
    return timeout
