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
"""Number of blobs in one page of a listing. A retry repeats at most one page."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds on the number of attempts and on their time.

    Attempt n is followed by a random wait between 0 and ``min(max_wait, first_wait * 2 ** (n - 1))`` seconds:
    exponential backoff with full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS, 2015).

    Attributes:
        attempts: maximum number of attempts of one call, including the first.
        attempt_timeout: seconds for each attempt.
        deadline: seconds for the call, including all attempts and waits.
        first_wait: upper bound in seconds of the wait after the first attempt.
        max_wait: maximum in seconds of this upper bound after later attempts.
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
        """Return the seconds to wait after a failed attempt, counted from 1."""
        exponent = min(attempt - 1, 60)  # larger than any useful value, but without an overflow
        return rng.uniform(0.0, min(self.max_wait, self.first_wait * 2.0**exponent))


@dataclass(slots=True)
class RetryCounts:
    """The counters of a ``RetryingBlobStore``.

    Attributes:
        calls: number of calls; each page of a listing is a call.
        retries: number of attempts after the first one of a call.
        timeouts: number of attempts and calls that exceeded their time.
        failures: number of calls that failed with ``Unavailable`` after all attempts.
    """

    calls: int = 0
    retries: int = 0
    timeouts: int = 0
    failures: int = 0


class RetryingBlobStore(BlobStore):
    """A blob store that retries calls that raise ``Unavailable``, within bounds, and no others.

    An attempt that failed may still have taken effect:

    1. The first attempt of a conditional ``put`` writes the blob, but its answer is lost.
    2. The second attempt raises ``Conflict``, because the blob has a new ETag.
    3. The blob is read back. If its content is the one to write, the call succeeds.

    In step 3 another writer may have written the same bytes. The call succeeds in that case too, which is harmless. A
    retried ``delete`` may return False because an earlier attempt deleted the blob.

    Args:
        inner: the store to call. It is closed with this one.
        policy: bounds on attempts and time.
        sleep: waits for a number of seconds.
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
        """See ``BlobStore.get``."""
        return await self._call(f"get {key}", lambda: self._inner.get(key, offset=offset, length=length))

    async def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """See ``BlobStore.put``."""
        tries = 0

        async def attempt() -> str:
            nonlocal tries
            tries += 1
            try:
                return await self._inner.put(key, data, if_match=if_match, if_absent=if_absent)
            except Conflict as conflict:
                if tries == 1:
                    raise
                return await self._etag_if_written(key, data, conflict)

        return await self._call(f"put {key}", attempt)

    async def delete(self, key: str) -> bool:
        """See ``BlobStore.delete``."""
        return await self._call(f"delete {key}", lambda: self._inner.delete(key))

    async def head(self, key: str) -> BlobInfo | None:
        """See ``BlobStore.head``."""
        return await self._call(f"head {key}", lambda: self._inner.head(key))

    async def list_folders(self, prefix: str = "") -> list[str]:
        """See ``BlobStore.list_folders``."""
        return await self._call(f"list folders of {prefix}", lambda: self._inner.list_folders(prefix))

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """See ``BlobStore.list``.

        The deadline applies to each page of ``LIST_PAGE`` blobs, without the time that the caller takes.
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
        # A new object for each call, because it holds the state of the call.
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
            raise DeadlineExceeded(f"{what}: not finished within {seconds:g} s") from error

    async def _etag_if_written(self, key: str, data: bytes, conflict: Conflict) -> str:
        try:
            present = await self._inner.get(key)
        except NotFound:
            raise conflict from None
        if present.data != data:
            raise conflict
        return present.etag


class _Listing:
    """A listing in pages. After a failure, the next page begins after the last blob of the previous page."""

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
