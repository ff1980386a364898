"""What is opened before its first use, and closed once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Opened(ABC):
    """Used by ``async with``. What fails to open is closed, since a part of it may be open."""

    @abstractmethod
    async def open(self) -> None:
        """Make ready; a second call does nothing."""

    @abstractmethod
    async def close(self) -> None:
        """Release what is held; a second call does nothing."""

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
