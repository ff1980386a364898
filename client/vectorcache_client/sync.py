"""The synchronous client of a router."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self, Unpack

from numpy.typing import ArrayLike

from vectorcache.index.options import SearchKeywords
from vectorcache.wire import public
from vectorcache_client.client import AsyncClient
from vectorcache_client.loop_thread import LoopThread


class Client:
    """A blocking client with the arguments, results and errors of ``AsyncClient``. It is thread-safe.

        with Client("http://127.0.0.1:8100") as client:
            found = client.search("glove", vector, k=5)
            print([hit.id for hit in found.results[0].hits])

    It runs an event loop in one background thread, which ``close`` ends.

    Args:
        url: base URL of the router.
        timeout: seconds for a call including its retries, unless the call sets its own.
        connections: maximum number of concurrent requests; further requests wait.
    """

    def __init__(self, url: str, *, timeout: float = 10.0, connections: int = 100) -> None:
        self._client = AsyncClient(url, timeout=timeout, connections=connections)
        self._thread = LoopThread("vectorcache-client")

    def search(
        self,
        collection: str,
        vectors: ArrayLike,
        k: int | None = None,
        **options: Unpack[SearchKeywords],
    ) -> public.SearchResponse:
        """See ``AsyncClient.search``."""
        return self._thread.wait(self._client.search(collection, vectors, k, **options))

    def vectors(
        self, collection: str, ids: Sequence[int | str], *, version: int | None = None
    ) -> public.VectorsResponse:
        """See ``AsyncClient.vectors``."""
        return self._thread.wait(self._client.vectors(collection, ids, version=version))

    def collections(self) -> list[public.CollectionInfo]:
        """See ``AsyncClient.collections``."""
        return self._thread.wait(self._client.collections())

    def collection(self, collection: str) -> public.CollectionInfo:
        """See ``AsyncClient.collection``."""
        return self._thread.wait(self._client.collection(collection))

    def ring(self) -> public.RingInfo:
        """See ``AsyncClient.ring``."""
        return self._thread.wait(self._client.ring())

    def node_count(self) -> public.NodeCount:
        """See ``AsyncClient.node_count``."""
        return self._thread.wait(self._client.node_count())

    def set_node_count(self, count: int) -> public.NodeCount:
        """See ``AsyncClient.set_node_count``."""
        return self._thread.wait(self._client.set_node_count(count))

    def ready(self) -> bool:
        """See ``AsyncClient.ready``."""
        return self._thread.wait(self._client.ready())

    def close(self) -> None:
        """Cancel running calls, close the connections, and end the thread. A second call does nothing."""
        self._thread.close(self._client.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
