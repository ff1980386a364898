"""Progress reports of a build."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichBars
    from rich.progress import TaskID


class Progress(ABC):
    """Receives the stages of a build and their steps. Called from several threads, but never concurrently."""

    @abstractmethod
    def stage(self, name: str, steps: int) -> None:
        """Report that a stage with a number of steps begins and the previous one is done."""

    @abstractmethod
    def advance(self, steps: int = 1) -> None:
        """Report that a number of steps of the current stage are done."""


class Silence(Progress):
    """Progress that is not shown."""

    def stage(self, name: str, steps: int) -> None:
        """See ``Progress.stage``."""

    def advance(self, steps: int = 1) -> None:
        """See ``Progress.advance``."""


class _Bars(Progress):
    def __init__(self, bars: RichBars) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def stage(self, name: str, steps: int) -> None:
        self._finish()
        self._task = self._bars.add_task(name, total=steps)

    def advance(self, steps: int = 1) -> None:
        if self._task is not None:
            self._bars.advance(self._task, steps)

    def _finish(self) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=self._bars.tasks[self._task].total)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Show a progress bar per stage on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichBars

    columns = (TextColumn("{task.description:<26}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with RichBars(*columns, console=Console(stderr=True)) as bars:
        shown = _Bars(bars)
        yield shown
        shown._finish()
