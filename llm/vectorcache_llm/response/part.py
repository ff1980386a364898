"""A part of the cache that may fail: called within a deadline, behind a breaker, failures told to the observer."""

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
"""The name of this cache, for observers."""


class PassedOver(Unavailable):
    """A part failed, was late, or is left alone; the cache goes on without it."""


class Part:
    """A tier or the embedder. ``name`` is for observers and health."""

    def __init__(self, name: str, breaker: Breaker, observer: Observer) -> None:
        self.name = name
        self.usual_seconds = 0.0
        self._breaker = breaker
        self._observer = observer

    @property
    def state(self) -> State:
        """Of its breaker."""
        return self._breaker.state

    def took(self, seconds: float) -> None:
        """Learn how long the usual call takes: a moving average over some eight of them."""
        self.usual_seconds += (seconds - self.usual_seconds) / 8

    async def run(
        self,
        operation: str,
        work: Callable[[], Coroutine[Any, Any, T]],
        ends: float,
        meanwhile: Callable[[], object] = nothing,
    ) -> T:
        """Do work that ends by ``ends``, of the event loop's clock, and something else while it waits.

        Raises:
            PassedOver: it failed, was late, or the breaker is open. A cancelled caller hears ``CancelledError``.
        """
        if not self._breaker.allows():
            raise PassedOver(f"{self.name} is left alone after failures")
        return await self._try(operation, work, ends, meanwhile)

    async def _try(
        self,
        operation: str,
        work: Callable[[], Coroutine[Any, Any, T]],
        ends: float,
        meanwhile: Callable[[], object] = nothing,
    ) -> T:
        try:
            result = await until(work(), ends, meanwhile)
        except asyncio.CancelledError:
            self._breaker.abandoned()
            raise
        except (InvalidInput, Unsupported) as error:
            self._breaker.succeeded()  # it works; it only does not take this
            raise self._passed_over(operation, error) from error
        except TimeoutError as error:
            self._breaker.failed()
            late = DeadlineExceeded(f"{self.name} was not done within its deadline: {operation}")
            raise self._passed_over(operation, late) from error
        except Exception as error:
            self._breaker.failed()
            raise self._passed_over(operation, error) from error
        self._breaker.succeeded()
        return result

    def _passed_over(self, operation: str, error: Exception) -> PassedOver:
        if not isinstance(error, Unsupported):
            self._observer.failed(CACHE, self.name, operation, error)
        return PassedOver(f"{self.name} did not {operation}: {error}")
