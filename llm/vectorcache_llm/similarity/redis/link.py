"""Redis commands, one or many per round trip, with deadlines and translated errors."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeAlias, TypeVar

from vectorcache.errors import Unavailable
from vectorcache_llm.errors import Unsupported
from vectorcache_llm.kv.redis.link import RedisLink

T = TypeVar("T")

Argument: TypeAlias = str | bytes | int | float
Command: TypeAlias = tuple[Argument, ...]


class CommandLink(RedisLink):
    """A ``RedisLink`` that runs raw commands."""

    async def call(self, *command: Argument) -> Any:
        """Run one command.

        Raises:
            Unavailable: the deadline passed, or the server is unreachable, full or loading.
            Unsupported: the server does not know the command.
        """
        return await self._translated(self.client.execute_command(*command))

    async def calls(self, commands: Sequence[Command], *, atomic: bool = False) -> list[Any]:
        """Run commands in one round trip. All are run, and then the first error is raised, as by ``call``."""
        return await self._translated(self._transaction(commands) if atomic else self._pipeline(commands))

    async def _transaction(self, commands: Sequence[Command]) -> list[Any]:
        pipeline = self.client.pipeline(transaction=True)
        for command in commands:
            pipeline.execute_command(*command)
        answers: list[Any] = await pipeline.execute()
        return answers

    async def _pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """Send all commands at once. The client's pipeline would add about a third to the server's time."""
        pool = self.client.connection_pool
        connection = await pool.get_connection()
        try:
            await connection.send_packed_command(b"".join(map(_packed, commands)))
            answers = [await self._answer(connection) for _ in commands]
        finally:
            await pool.release(connection)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def _answer(self, connection: Any) -> Any:
        """Read one reply. An error reply is returned, because the remaining replies must still be read."""
        try:
            return await connection.read_response()
        except self._errors.ResponseError as error:
            return error

    async def _translated(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            return await self.run(call)
        except Unavailable as error:
            if "unknown command" in str(error).lower():
                raise Unsupported(str(error)) from error
            raise


def _packed(command: Command) -> bytes:
    """Encode a command in the Redis protocol, as an array of bulk strings."""
    parts = [one if isinstance(one, bytes) else str(one).encode() for one in command]
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])
