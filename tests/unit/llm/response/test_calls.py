"""``cached_llm_call`` and the decorator, for functions of every kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.support.llm.fakes import Model, cache_of
from tests.support.llm.flaky import FlakyEmbedder
from tests.support.waiting import until

from vectorcache.errors import InvalidInput
from vectorcache_llm.response import Chunk, Reply, Request, ResponseCache, cached, cached_llm_call
from vectorcache_llm.scope import Scope

QUESTION = "How do I reverse a string in Python?"


@pytest.fixture
async def cache() -> AsyncIterator[ResponseCache]:
    async with cache_of(FlakyEmbedder()) as cache:
        yield cache


async def test_a_call_is_made_once(cache: ResponseCache) -> None:
    model = Model()
    for _ in range(2):
        reply = await cached_llm_call(QUESTION, model, cache=cache, model="m", parameters={"temperature": 0})
        assert reply.text == f"{QUESTION} #1"
    assert (await cache.get(Request(QUESTION, "m", {"temperature": 0}))).reply == reply


async def test_an_async_function(cache: ResponseCache) -> None:
    calls: list[Any] = []

    @cached(cache, model="m", ignore=["client"])
    async def ask(prompt: str, client: object, temperature: float = 0, **more: Any) -> str:
        """Call the model."""
        calls.append((prompt, client, temperature, more))
        return f"answer {len(calls)}"

    assert ask.__doc__ == "Call the model."
    assert await ask("one", object()) == await ask("one", object(), temperature=0.0) == "answer 1"
    assert await ask("one", object(), temperature=1) == "answer 2"
    assert await ask("one", object(), seed=3) == "answer 3"
    assert (await cache.get(Request("one", "m", {"temperature": 0, "seed": 3}))).reply == Reply("answer 3")
    assert calls[2][2:] == (0, {"seed": 3})


async def test_model_and_tools_are_arguments_or_settings(cache: ResponseCache) -> None:
    @cached(cache, model="usual")
    async def ask(messages: list[Any], model: str = "", tools: list[Any] | None = None) -> str:
        return f"{model} {tools}"

    turns = [{"role": "user", "content": "one"}]
    await ask(turns)
    await ask(turns, model="m", tools=[{"name": "t"}])
    assert (await cache.get(Request("one", "usual"))).reply is not None
    assert (await cache.get(Request("one", "m", tools=[{"name": "t"}]))).reply is not None


async def test_the_scope_may_come_from_the_arguments(cache: ResponseCache) -> None:
    class Assistant:
        calls = 0

        @cached(cache, scope=lambda self, prompt, user: Scope("acme", user), ignore=["user"])
        async def ask(self, prompt: str, user: str) -> str:
            self.calls += 1
            return f"answer {self.calls}"

    assistant = Assistant()
    assert [await assistant.ask("one", user) for user in ("ann", "bob", "ann")] == [
        "answer 1",
        "answer 2",
        "answer 1",
    ]


@pytest.mark.parametrize("returns", [dict, Reply])
async def test_completions_and_replies_keep_their_type(cache: ResponseCache, returns: Any) -> None:
    completion = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "id": 7}

    @cached(cache, returns=returns)
    async def ask(prompt: str) -> Any:
        return completion if returns is dict else Reply("Hi", model="m")

    assert await ask("one") == await ask("one") == (completion if returns is dict else Reply("Hi", model="m"))


@pytest.mark.parametrize(
    ("returns", "pieces"),
    [(str, ["a", "b"]), (Reply, [Chunk("a"), Chunk("b", "stop")])],
)
async def test_an_async_generator_streams(cache: ResponseCache, returns: Any, pieces: list[Any]) -> None:
    calls = 0

    @cached(cache, returns=returns)
    async def ask(prompt: str) -> AsyncIterator[Any]:
        nonlocal calls
        calls += 1
        for piece in pieces:
            yield piece

    assert [piece async for piece in ask("one")] == pieces
    await until(lambda: not cache._background._running)
    assert [piece async for piece in ask("one")] == pieces
    assert calls == 1


async def test_a_plain_function_blocks_its_thread(cache: ResponseCache) -> None:
    calls = 0

    @cached(cache)
    def ask(prompt: str) -> str:
        nonlocal calls
        calls += 1
        return f"answer {calls}"

    answers = await asyncio.gather(*(asyncio.to_thread(ask, "one") for _ in range(8)))
    assert set(answers) == {"answer 1"}
    with pytest.raises(InvalidInput, match="event loop"):
        ask("one")


async def test_an_error_of_a_plain_function_is_raised_in_its_thread(cache: ResponseCache) -> None:
    @cached(cache)
    def ask(prompt: str) -> str:
        raise RuntimeError("no quota")

    with pytest.raises(RuntimeError, match="no quota"):
        await asyncio.to_thread(ask, "one")


def test_a_plain_function_needs_an_open_cache() -> None:
    @cached(cache_of(FlakyEmbedder()))
    def ask(prompt: str) -> str:
        return prompt

    with pytest.raises(InvalidInput, match="opened"):
        ask("one")


async def test_unsupported_functions_are_rejected(cache: ResponseCache) -> None:
    async def asks_nothing(text: str) -> str:
        return text

    def yields(prompt: str) -> Iterator[str]:
        yield prompt

    for function in (asks_nothing, yields):
        with pytest.raises(InvalidInput):
            cached(cache)(function)
    with pytest.raises(InvalidInput):
        cached(cache, returns=int)  # type: ignore[arg-type]
