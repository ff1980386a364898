"""Commands to Redis, one or many in a round trip: each call within a deadline, with errors of ours."""

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
    """A client and a deadline; see ``RedisLink``."""

    async def call(self, *command: Argument) -> Any:
        """Run one command.

        Raises:
            Unavailable: not done within the deadline, or the server is away, full or loading.
            Unsupported: the server does not know the command.
        """
        return await self._known(self.client.execute_command(*command))

    async def calls(self, commands: Sequence[Command], *, atomic: bool = False) -> list[Any]:
        """Run commands in one round trip; errors as of ``call``, the first one's after all have been run."""
        return await self._known(self._transaction(commands) if atomic else self._together(commands))

    async def _transaction(self, commands: Sequence[Command]) -> list[Any]:
        pipeline = self.client.pipeline(transaction=True)
        for command in commands:
            pipeline.execute_command(*command)
        answers: list[Any] = await pipeline.execute()
        return answers

    async def _together(self, commands: Sequence[Command]) -> list[Any]:
        """Without the client's pipeline, which takes about a third of the time that the server takes."""
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
        """One answer, or the error that the server answered: the others are to be read all the same."""
        try:
            return await connection.read_response()
        except self._errors.ResponseError as error:
            return error

    async def _known(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            return await self.run(call)
        except Unavailable as error:
            if "unknown command" in str(error).lower():
                raise Unsupported(str(error)) from error
            raise


def _packed(command: Command) -> bytes:
    """As the Redis protocol sends it: an array of strings with their lengths."""
    parts = [one if isinstance(one, bytes) else str(one).encode() for one in command]
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])
