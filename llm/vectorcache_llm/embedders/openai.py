"""An embedder for servers with the /v1/embeddings API of OpenAI."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
)

from vectorcache.errors import CorruptData, DeadlineExceeded, InvalidInput, Unavailable
from vectorcache.stores import RetryPolicy
from vectorcache.vectors.metric import Floats
from vectorcache_llm.embedders.base import Embedder
from vectorcache_llm.embedders.texts import check_dimension, embed_filled
from vectorcache_llm.errors import Unsupported
from vectorcache_llm.extras import require
from vectorcache_llm.kv.checks import check_positive

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

TIMEOUT = 10.0
"""Default timeout, in seconds."""

ATTEMPTS = 4

BATCH_SIZE = 256
"""Default number of texts per request. OpenAI accepts 2048."""

NUMBER_BYTES = 32
"""Upper bound of the size of a number in JSON."""

REPLY_SLACK = 1 << 20
"""Allowed size of a response besides its numbers, in bytes."""

MESSAGE_CHARACTERS = 200
"""Length to which a server's message is truncated in an error."""


class _Row(msgspec.Struct):
    index: int
    embedding: list[float]


class _Reply(msgspec.Struct):
    data: list[_Row]


class _Busy(Unavailable):
    """A temporary rejection, with the delay in seconds that the server requested."""

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(message)
        self.wait = wait


class OpenAIEmbedder(Embedder):
    """Gets vectors from OpenAI, or from a server with a compatible API (vLLM, Ollama, LiteLLM, TEI, ...).

    ``timeout`` applies to each batch, including all attempts. A request that failed temporarily (429, 5xx, a broken
    connection) is retried with backoff, or after the delay in ``Retry-After``, as long as that fits into the timeout;
    then ``Unavailable`` is raised. Any other error response raises ``Unsupported``. The API key appears in no message,
    log or ``repr``.

    Args:
        base_url: URL of the server, including ``/v1``.
        model: name of the model on the server.
        dimension: number of components of its vectors.
        api_key: sent as a bearer token; None sends no token.
        shorten: whether to request vectors of ``dimension`` components (for OpenAI's text-embedding-3); many servers
            reject such requests.
        timeout: time limit of a batch, in seconds.
        batch_size: number of texts per request.
        attempts: maximum number of attempts of a request.
        sleep, rng: wait between attempts and its jitter; for tests.

    Raises:
        MissingExtra: ``aiohttp`` is not installed.
        InvalidInput: an argument is not allowed.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        dimension: int,
        *,
        api_key: str | None = None,
        shorten: bool = False,
        timeout: float = TIMEOUT,
        batch_size: int = BATCH_SIZE,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        check_dimension(dimension)
        check_positive(timeout=timeout, batch_size=batch_size)
        self._base_url = _checked_url(base_url)
        self._model = model
        self._dimension = dimension
        self._options = {"dimensions": dimension} if shorten else {}
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {_checked_key(api_key)}"}
        self._api_key = api_key
        self._timeout = timeout
        self._policy = RetryPolicy(attempts=attempts, deadline=timeout, attempt_timeout=timeout)
        self._batch_size = batch_size
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - jitter needs no cryptographic randomness
        self._aiohttp = require("aiohttp", "client")
        self._session: ClientSession | None = None

    @property
    def fingerprint(self) -> str:
        """Server, model and dimension. The server is included because servers may use the same name differently."""
        return f"openai:{self._base_url}:{self._model}:{self._dimension}"

    @property
    def dimension(self) -> int:
        """See ``Embedder.dimension``."""
        return self._dimension

    async def embed(self, texts: Sequence[str]) -> Floats:
        """See ``Embedder.embed``. Batches are requested one after the other.

        Raises:
            Unavailable: the server did not answer in time, or rejected the request temporarily.
            Unsupported: the server rejected the request permanently, for example because of a wrong API key or a text
                that is too long for the model.
            CorruptData: the response does not match the request, or has the wrong dimension.
        """
        return await embed_filled(texts, self._dimension, self._all_batches)

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _all_batches(self, texts: list[str]) -> object:
        rows: list[list[float]] = []
        for start in range(0, len(texts), self._batch_size):
            rows += await self._batch(texts[start : start + self._batch_size])
        return rows

    async def _batch(self, texts: list[str]) -> list[list[float]]:
        try:
            async with asyncio.timeout(self._timeout):
                body: bytearray = await self._retrying()(self._request, texts)
                # Parsing thousands of numbers takes milliseconds.
                return await asyncio.to_thread(_vectors, body, len(texts))
        except TimeoutError as error:
            raise DeadlineExceeded(f"{self._base_url}: no embeddings within {self._timeout:g} s") from error

    def _retrying(self) -> AsyncRetrying:
        return AsyncRetrying(  # one per call, because it holds the state of the call
            retry=retry_if_exception_type(Unavailable),
            stop=stop_after_attempt(self._policy.attempts) | stop_before_delay(self._timeout),
            wait=self._wait,
            sleep=self._sleep,
            reraise=True,
        )

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        requested = error.wait if isinstance(error, _Busy) else 0.0
        return max(requested, self._policy.wait(state.attempt_number, self._rng))

    async def _request(self, texts: list[str]) -> bytearray:
        question = {"model": self._model, "input": texts, "encoding_format": "float", **self._options}
        try:
            async with self._opened().post(
                f"{self._base_url}/embeddings",
                data=msgspec.json.encode(question),
                headers={"Content-Type": "application/json", **self._headers},
                allow_redirects=False,  # the key must not be sent to another server
            ) as response:
                return await self._read(response, len(texts))
        except (self._aiohttp.ClientError, OSError) as error:
            # Not `from error`: errors of aiohttp contain the headers of the request, and thus the key.
            raise Unavailable(f"{self._base_url}: {type(error).__name__}: {error}") from None

    async def _read(self, response: ClientResponse, count: int) -> bytearray:
        limit = count * self._dimension * NUMBER_BYTES + REPLY_SLACK
        body = bytearray()
        async for part in response.content.iter_any():
            body += part
            if len(body) > limit:
                raise CorruptData(f"{self._base_url}: the response exceeds {limit} bytes")
        if response.status == 200:
            return body
        raise self._error(response, body)

    def _error(self, response: ClientResponse, body: bytearray) -> Exception:
        text = body[: 4 * MESSAGE_CHARACTERS].decode(errors="replace")
        if self._api_key:
            text = text.replace(self._api_key, "***")
        message = f"{self._base_url} answered {response.status}: {text[:MESSAGE_CHARACTERS]}"
        if response.status == 429 or response.status >= 500:
            return _Busy(message, _seconds(response.headers.get("Retry-After", "")))
        return Unsupported(message)

    def _opened(self) -> ClientSession:
        if self._session is None:
            unbounded = self._aiohttp.ClientTimeout(total=None)  # the timeout of the batch applies instead
            self._session = self._aiohttp.ClientSession(timeout=unbounded)
        return self._session


def _vectors(body: bytearray, count: int) -> list[list[float]]:
    try:
        reply = msgspec.json.decode(body, type=_Reply)
    except msgspec.MsgspecError as error:
        raise CorruptData(f"the response is not one of /v1/embeddings: {error}") from error
    rows = {row.index: row.embedding for row in reply.data}
    if sorted(rows) != list(range(count)):
        raise CorruptData(f"the server returned {len(reply.data)} embeddings for {count} texts")
    return [rows[index] for index in range(count)]


def _seconds(retry_after: str) -> float:
    """Parse ``Retry-After`` in seconds. The date form is ignored, so the normal backoff applies."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port  # the access validates the port
    except ValueError:
        raise InvalidInput("base_url", "...", "http(s)://host/v1, with a valid port") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InvalidInput(
            "base_url", f"{parts.scheme}://...", "http(s)://host/v1, without query and fragment"
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(
            "base_url", f"{parts.scheme}://...@{parts.hostname}", "a URL without a password; use api_key"
        )
    return url.rstrip("/")


def _checked_key(key: Any) -> str:
    if not isinstance(key, str) or not key or not key.isascii() or not key.isprintable():
        raise InvalidInput("api_key", "***", "printable ASCII")
    return key
