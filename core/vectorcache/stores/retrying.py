"""Deadlines and retries around any blob store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from vectorcache.errors import Conflict, DeadlineExceeded, InvalidInput, NotFound, Unavailable
from vectorcache.stores.base import Blob, BlobInfo, BlobStore

T = TypeVar("T")

LIST_PAGE = 1000
"""Blobs that one call of a listing collects; a failure repeats at most this much."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often to try, and how long.

    After attempt n comes a random wait between 0 and ``min(max_wait, first_wait * 2 ** (n - 1))`` seconds:
    exponential back-off with full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS, 2015).

    Attributes:
        attempts: tries of one call, the first included.
        attempt_timeout: seconds for each try.
        deadline: seconds for the call: all of its tries and waits.
        first_wait: seconds; the upper bound of the wait after the first try.
        max_wait: seconds; no upper bound of a wait is larger.
    """

    attempts: int = 5
    attempt_timeout: float = 10.0
    deadline: float = 30.0
    first_wait: float = 0.05
    max_wait: float = 2.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InvalidInput("attempts", self.attempts, "1 or more")
        for field, seconds in (
            ("attempt_timeout", self.attempt_timeout),
            ("deadline", self.deadline),
            ("first_wait", self.first_wait),
            ("max_wait", self.max_wait),
        ):
            if not seconds > 0:
                raise InvalidInput(field, seconds, "more than 0 seconds")

    def wait(self, attempt: int, rng: random.Random) -> float:
        """Seconds to wait after the failure of an attempt, counted from 1."""
        exponent = min(attempt - 1, 60)  # beyond any use, and within what a float can hold
        return rng.uniform(0.0, min(self.max_wait, self.first_wait * 2.0**exponent))


@dataclass(slots=True)
class RetryCounts:
    """What a ``RetryingBlobStore`` has been through.

    Attributes:
        calls: calls made to it; each page of a listing is one.
        retries: tries after the first one of a call.
        timeouts: tries and calls whose time ran out.
        failures: calls that failed with ``Unavailable`` in the end.
    """

    calls: int = 0
    retries: int = 0
    timeouts: int = 0
    failures: int = 0


class RetryingBlobStore(BlobStore):
    """A blob store that tries again what was ``Unavailable``, within bounds, and nothing else.

    A try that failed may have been done all the same. So when a later try of a conditional ``put`` meets a
    ``Conflict``, the blob is read back: if it is what was to be written, that is success. (Another writer of
    the very same bytes is then taken for ourselves: who loses such a race has lost nothing.) A ``delete``
    that was tried again may say that there was none because an earlier try removed it.

    Args:
        inner: the store to call; closed with this one.
        policy: bounds of attempts and time.
        sleep: waits for the seconds given.
        rng: source of the jitter.
    """

    def __init__(
        self,
        inner: BlobStore,
        policy: RetryPolicy | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._inner = inner
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        self.counts = RetryCounts()

    async def get(self, key: str, *, offset: int = 0, length: int | None = None) -> Blob:
        """Read a blob, or the ``length`` bytes from ``offset`` (fewer at its end)."""
        return await self._call(f"get {key}", lambda: self._inner.get(key, offset=offset, length=length))

    async def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """Write a blob whole and return its new ETag."""
        tries = 0

        async def attempt() -> str:
            nonlocal tries
            tries += 1
            try:
                return await self._inner.put(key, data, if_match=if_match, if_absent=if_absent)
            except Conflict as conflict:
                if tries == 1:
                    raise
                return await self._etag_if_ours(key, data, conflict)

        return await self._call(f"put {key}", attempt)

    async def delete(self, key: str) -> bool:
        """Delete a blob; say whether there was one."""
        return await self._call(f"delete {key}", lambda: self._inner.delete(key))

    async def head(self, key: str) -> BlobInfo | None:
        """Describe a blob without reading it, or None where there is none."""
        return await self._call(f"head {key}", lambda: self._inner.head(key))

    async def list_folders(self, prefix: str = "") -> list[str]:
        """The names directly below ``prefix`` that have blobs below them, sorted."""
        return await self._call(f"list folders of {prefix}", lambda: self._inner.list_folders(prefix))

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """Every blob whose key begins with ``prefix``, in the order of their keys.

        Deadlines are for each page of ``LIST_PAGE`` blobs; the time that the caller takes does not count.
        """
        listing = _Listing(self._inner, prefix)
        while page := await self._call(f"list {prefix}", listing.next_page):
            for info in page:
                yield info

    async def close(self) -> None:
        """Close the inner store."""
        await self._inner.close()

    async def _call(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        async def attempt() -> T:
            async with self._within(self._policy.attempt_timeout, what):
                return await call()

        self.counts.calls += 1
        try:
            async with self._within(self._policy.deadline, what):
                return await self._retrying()(attempt)
        except Unavailable:
            self.counts.failures += 1
            raise

    def _retrying(self) -> AsyncRetrying:
        # One for each call: it keeps the state of the call.
        return AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            stop=stop_after_attempt(self._policy.attempts),
            wait=lambda state: self._policy.wait(state.attempt_number, self._rng),
            before_sleep=self._count_retry,
            sleep=self._sleep,
            reraise=True,
        )

    def _count_retry(self, state: RetryCallState) -> None:
        self.counts.retries += 1

    @asynccontextmanager
    async def _within(self, seconds: float, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds) as scope:
                yield
        except TimeoutError as error:
            if not scope.expired():
                raise
            self.counts.timeouts += 1
            raise DeadlineExceeded(f"{what}: not done within {seconds:g} s") from error

    async def _etag_if_ours(self, key: str, data: bytes, conflict: Conflict) -> str:
        try:
            present = await self._inner.get(key)
        except NotFound:
            raise conflict from None
        if present.data != data:
            raise conflict
        return present.etag


class _Listing:
    """A listing in pages; after a failure the next page begins behind the last blob that was handed out."""

    def __init__(self, store: BlobStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._last = ""
        self._source = store.list(prefix)

    async def next_page(self) -> list[BlobInfo]:
        page: list[BlobInfo] = []
        try:
            async for info in self._source:
                if info.key > self._last:
                    page.append(info)
                if len(page) == LIST_PAGE:
                    break
        except (Unavailable, asyncio.CancelledError):
            self._source = self._store.list(self._prefix)
            raise
        if page:
            self._last = page[-1].key
        return page
