"""Summaries in the background."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from vectorcache_llm.chat.log import Session
from vectorcache_llm.chat.turns import Turn
from vectorcache_llm.scope import EVERYTHING, Selection

Summarise: TypeAlias = Callable[[str, Sequence[Turn]], str | Awaitable[str]]
"""Returns a new summary, given the previous summary (at first empty) and the turns after it. A plain function runs in
a thread."""


async def call(summarise: Summarise, before: str, turns: Sequence[Turn], timeout: float) -> str:
    """Return a new summary.

    Raises:
        TimeoutError: the callable took longer than ``timeout`` seconds.
        Exception: whatever the callable raises.
    """
    async with asyncio.timeout(timeout):
        if inspect.iscoroutinefunction(summarise):
            answer: Any = summarise(before, turns)
        else:
            answer = await asyncio.to_thread(summarise, before, turns)
        return str(await answer if inspect.isawaitable(answer) else answer)


class Running:
    """Running summaries: at most one per session and ``limit`` in total. A later turn makes skipped ones."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tasks: dict[Session, asyncio.Task[None]] = {}

    def start(self, session: Session, work: Coroutine[Any, Any, None]) -> None:
        """Start the work unless a limit is reached."""
        if session in self._tasks or len(self._tasks) >= self._limit:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[session] = task
        task.add_done_callback(lambda _: self._tasks.pop(session, None))

    async def stop(self, selection: Selection = EVERYTHING) -> None:
        """Cancel the summaries of the selected scopes, and wait until they have ended."""
        ours = [
            task
            for session, task in self._tasks.items()
            if Selection(selection.tenant, selection.user, selection.name).matches(session.scope, 0)
        ]
        for task in ours:
            task.cancel()
        await asyncio.gather(*ours, return_exceptions=True)

    async def drain(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for all summaries, then cancel the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=timeout)
        await self.stop()
