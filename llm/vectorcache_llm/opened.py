"""Base class of objects that are opened and closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Opened(ABC):
    """An asynchronous context manager. If ``open`` fails, ``close`` is called, since a part may be open."""

    @abstractmethod
    async def open(self) -> None:
        """Open the object; a second call does nothing."""

    @abstractmethod
    async def close(self) -> None:
        """Release resources; a second call does nothing."""

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
