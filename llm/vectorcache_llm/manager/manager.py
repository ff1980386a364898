"""One interface to all caches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from vectorcache.errors import InvalidInput, NotFound, VectorCacheError
from vectorcache_llm.chat import ChatMemory
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.managed import ManagedCache, PartHealth, Record
from vectorcache_llm.manager import transfer, warming
from vectorcache_llm.manager.report import Report, each
from vectorcache_llm.metrics import Metrics
from vectorcache_llm.opened import Opened
from vectorcache_llm.reasoning import ReasoningCache
from vectorcache_llm.response.cache import ResponseCache
from vectorcache_llm.scope import EVERYTHING, Scope, Selection

K = TypeVar("K", bound=ManagedCache)
Progress = Callable[[int], None]


class Manager(Opened):
    """Several caches that are opened, closed and administered together.

    A failure of one cache is reported in ``Report.errors`` and does not affect the others.

    Args:
        caches: caches with different names; opened in this order and closed in reverse order.
        embedder: the embedder that they share; closed after them.
        metrics: the metrics of the caches.
        clock: seconds since the epoch.

    Raises:
        InvalidInput: two caches have the same name.
    """

    def __init__(
        self,
        caches: Sequence[ManagedCache],
        *,
        embedder: Embedder | None = None,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.caches = {cache.name: cache for cache in caches}
        if len(self.caches) != len(caches):
            raise InvalidInput("caches", [cache.name for cache in caches], "caches with different names")
        self.embedder = embedder
        self.metrics = metrics or Metrics()
        self._clock = clock
        self._stack: AsyncExitStack | None = None

    @property
    def response(self) -> ResponseCache:
        """The response cache.

        Raises:
            NotFound: there is no such cache; this applies to the others too.
        """
        return self._cache("response", ResponseCache)

    @property
    def reasoning(self) -> ReasoningCache:
        """The reasoning cache."""
        return self._cache("reasoning", ReasoningCache)

    @property
    def chat(self) -> ChatMemory:
        """Chat memory."""
        return self._cache("chat", ChatMemory)

    async def open(self) -> None:
        """Open all caches. A second call has no effect."""
        if self._stack is not None:
            return
        async with AsyncExitStack() as stack:
            if self.embedder is not None:
                stack.push_async_callback(self.embedder.close)
            for cache in self.caches.values():
                stack.push_async_callback(cache.close)
                await cache.open()
            self._stack = stack.pop_all()

    async def close(self) -> None:
        """Close all caches. A second call has no effect."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    async def invalidate(
        self, selection: Selection, caches: Iterable[str] = (), *, older_than: float | None = None
    ) -> Report:
        """Delete the selected entries: ``EVERYTHING``, or by tenant, user, tags, pattern or age.

        Args:
            selection: the entries.
            caches: names of caches; all by default.
            older_than: minimum age of the entries in seconds.

        Raises:
            InvalidInput: ``older_than`` is negative.
            NotFound: there is no such cache.
        """
        if older_than is not None:
            if not older_than >= 0:
                raise InvalidInput("older_than", older_than, "0 seconds or more")
            selection = replace(selection, created_before=self._clock() - older_than)
        answers, errors = await each(self._chosen(caches), lambda cache: cache.delete_where(selection))
        return Report(answers, errors)

    async def invalidate_similar(
        self, scope: Scope, text: str, min_similarity: float, caches: Iterable[str] = ("response",)
    ) -> Report:
        """Delete entries with similar texts. A cache without an index is reported among the errors.

        Raises:
            InvalidInput: ``min_similarity`` is not between 0 and 1.
            NotFound: there is no such cache.
        """
        if not 0 <= min_similarity <= 1:
            raise InvalidInput("min_similarity", min_similarity, "a number between 0 and 1")
        answers, errors = await each(
            self._chosen(caches), lambda cache: cache.delete_similar(scope, text, min_similarity)
        )
        return Report(answers, errors)

    async def stats(self) -> dict[str, Mapping[str, Any]]:
        """Return the statistics of each cache, or ``{"error": ...}`` for one that failed."""
        answers, errors = await each(self.caches.values(), lambda cache: cache.stats())
        return {**answers, **{name: {"error": error} for name, error in errors.items()}}

    async def health(self) -> dict[str, Sequence[PartHealth]]:
        """Probe all parts of all caches."""
        answers, _ = await each(self.caches.values(), lambda cache: cache.health())
        return answers

    async def export(
        self,
        path: Path,
        selection: Selection = EVERYTHING,
        caches: Iterable[str] = (),
        *,
        progress: Progress = lambda count: None,
    ) -> Report:
        """Write the selected entries to a file of JSON lines, which appears only when it is complete.

        Args:
            path: the file; replaced if it exists.
            selection: the entries.
            caches: names of caches; all by default.
            progress: called from time to time with the number of entries written.

        Raises:
            InvalidInput: the file cannot be written.
            NotFound: there is no such cache.
        """
        chosen = self._chosen(caches)
        report = Report()
        writer = transfer.Writer(path)
        try:
            await writer.open(
                transfer.Header(transfer.FORMAT, transfer.VERSION, self._clock(), self._fingerprint)
            )
            for cache in chosen:
                await self._export(cache, selection, writer, report, progress)
            await writer.finish(transfer.Footer(report.total, sorted(report.errors)))
        finally:
            writer.abandon()
        return report

    async def restore(
        self, path: Path, caches: Iterable[str] = (), *, progress: Progress = lambda count: None
    ) -> Report:
        """Store the entries of an exported file, with their creation times and expiries. Expired entries are skipped.

        Entries of other caches than ``caches`` are skipped too. A file that ends early is read as far as possible, and
        ``Report.complete`` is False.

        Raises:
            InvalidInput: the file cannot be read.
            NotFound: there is no such cache.
            CorruptData: the file is not an export, or a line is invalid; earlier batches remain stored.
        """
        chosen = {cache.name: cache for cache in self._chosen(caches)}
        report = Report(complete=False)
        first, found = True, 0
        async for batch in transfer.batches(path):
            if first:
                transfer.header(path, batch.pop(0)[1] if batch else b"")
                first = False
            lines = [transfer.line(path, number, text) for number, text in batch]
            for one in lines:
                found += isinstance(one, transfer.Line)
                report.complete = isinstance(one, transfer.Footer) and one.records == found and not one.failed
            records = transfer.by_cache(one for one in lines if isinstance(one, transfer.Line))
            for name in records.keys() & chosen.keys():
                await _restore(chosen[name], records[name], report)
            progress(report.total)
        return report

    async def warm(
        self, path: Path, *, ttl: float | None = None, progress: Progress = lambda count: None
    ) -> Report:
        """Put prompts with their replies into the response cache. docs/llm/manager.md lists the fields of a line.

        Args:
            path: a file of JSON lines, or of CSV if its name ends in ``.csv``.
            ttl: lifetime in seconds of lines without one.
            progress: called from time to time with the number of replies stored.

        Raises:
            InvalidInput: the file cannot be read, or a line is invalid; earlier batches remain stored.
            NotFound: there is no response cache.
        """
        response = self.response
        report = Report({response.name: 0})
        rejected = 0
        async for batch in warming.read(path):
            for one in batch:
                lifetime = ttl if one.ttl is None else one.ttl
                kept = await response.put(one.request, one.answer, one.whose, ttl=lifetime, tags=one.tags)
                report.add(response.name, int(kept))
                rejected += not kept
            progress(report.total)
        if rejected:
            report.errors[response.name] = (
                f"{rejected} replies were not stored: they are incomplete or not cacheable, or no tier stored them"
            )
        return report

    @property
    def _fingerprint(self) -> str:
        return self.embedder.fingerprint if self.embedder else ""

    def _cache(self, name: str, kind: type[K]) -> K:
        cache = self.caches.get(name)
        if not isinstance(cache, kind):
            raise NotFound("cache", name)
        return cache

    def _chosen(self, names: Iterable[str]) -> list[ManagedCache]:
        wanted = list(names) or list(self.caches)
        for name in wanted:
            if name not in self.caches:
                raise NotFound("cache", name)
        return [self.caches[name] for name in wanted]

    async def _export(
        self,
        cache: ManagedCache,
        selection: Selection,
        writer: transfer.Writer,
        report: Report,
        progress: Progress,
    ) -> None:
        report.add(cache.name, 0)
        try:
            async for record in cache.export(selection):
                await writer.write(transfer.Line(cache.name, record))
                report.add(cache.name, 1)
                if report.total % transfer.BATCH == 0:
                    progress(report.total)
        except VectorCacheError as error:
            report.errors[cache.name] = str(error)


async def _restore(cache: ManagedCache, records: Sequence[Record], report: Report) -> None:
    """Store records in a cache, unless it has already failed."""
    if cache.name in report.errors:
        return
    try:
        report.add(cache.name, await cache.restore(records))
    except VectorCacheError as error:
        report.errors[cache.name] = str(error)
