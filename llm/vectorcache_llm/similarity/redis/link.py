"""Commands to Redis, one or many in a round trip: each call within a deadline, with errors of ours."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, TypeAlias, TypeVar

from vectorcache.errors import Unavailable
from vectorcache_llm.errors import Unsupported
from vectorcache_llm.kv.redis.link import RedisLink

T = TypeVar("T")

Argument: TypeAlias = str | bytes | int | float
Command: TypeAlias = tuple[Argument, ...]


class CommandLink(RedisLink):
    """A client and a deadline; see ``RedisLink``."""

    async def call(self, *command: Argument) -> Any:
        """Run one command.

        Raises:
            Unavailable: not done within the deadline, or the server is away, full or loading.
            Unsupported: the server does not know the command.
        """
        return await self._known(self.client.execute_command(*command))

    async def calls(self, commands: Sequence[Command], *, atomic: bool = False) -> list[Any]:
        """Run commands in one round trip; errors as of ``call``."""
        pipeline = self.client.pipeline(transaction=atomic)
        for command in commands:
            pipeline.execute_command(*command)
        answers: list[Any] = await self._known(pipeline.execute())
        return answers

    async def _known(self, call: Awaitable[T]) -> T:
        try:
            return await self.run(call)
        except Unavailable as error:
            if "unknown command" in str(error).lower():
                raise Unsupported(str(error)) from error
            raise
