"""A part of the cache that may fail: called with a deadline through a circuit breaker, failures reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from vectorcache.errors import DeadlineExceeded, InvalidInput, Unavailable
from vectorcache_llm.errors import Unsupported
from vectorcache_llm.observer import Observer
from vectorcache_llm.response.breaker import Breaker, State
from vectorcache_llm.response.eager import nothing, until

T = TypeVar("T")

CACHE = "response"
"""The name of this cache in metrics and logs."""


class PartUnavailable(Unavailable):
    """A part failed, exceeded its deadline, or has an open breaker. The cache continues without it."""


class Part:
    """A tier or the embedder. ``name`` identifies it in metrics and health."""

    def __init__(self, name: str, breaker: Breaker, observer: Observer) -> None:
        self.name = name
        self.average_seconds = 0.0
        self._breaker = breaker
        self._observer = observer

    @property
    def state(self) -> State:
        """The state of its breaker."""
        return self._breaker.state

    def record_duration(self, seconds: float) -> None:
        """Update the moving average of a call's duration, over about eight calls."""
        self.average_seconds += (seconds - self.average_seconds) / 8

    async def run(
        self,
        operation: str,
        work: Callable[[], Coroutine[Any, Any, T]],
        deadline: float,
        meanwhile: Callable[[], object] = nothing,
    ) -> T:
        """Run ``work`` until ``deadline``, in seconds of the event loop's clock, and ``meanwhile`` while it waits.

        Raises:
            PartUnavailable: the work failed or exceeded its deadline, or the breaker is open.
            CancelledError: the caller was cancelled.
        """
        if not self._breaker.allows():
            raise PartUnavailable(f"{self.name} is not called: its circuit breaker is open")
        return await self._try(operation, work, deadline, meanwhile)

    async def _try(
        self,
        operation: str,
        work: Callable[[], Coroutine[Any, Any, T]],
        deadline: float,
        meanwhile: Callable[[], object] = nothing,
    ) -> T:
        try:
            result = await until(work(), deadline, meanwhile)
        except asyncio.CancelledError:
            self._breaker.abandoned()
            raise
        except (InvalidInput, Unsupported) as error:
            self._breaker.succeeded()  # the part works; it only rejects this input
            raise self._unavailable(operation, error) from error
        except TimeoutError as error:
            self._breaker.failed()
            late = DeadlineExceeded(f"{self.name} exceeded its deadline: {operation}")
            raise self._unavailable(operation, late) from error
        except Exception as error:
            self._breaker.failed()
            raise self._unavailable(operation, error) from error
        self._breaker.succeeded()
        return result

    def _unavailable(self, operation: str, error: Exception) -> PartUnavailable:
        if not isinstance(error, Unsupported):
            self._observer.failed(CACHE, self.name, operation, error)
        return PartUnavailable(f"{self.name} did not {operation}: {error}")
