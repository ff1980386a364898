"""Put a response cache in front of a language model. The model here is a function, so that no server is needed.

    pip install 'vectorcache[llm]'
    python examples/llm_cache.py ./llm-data

The argument is the folder of the cache. In a second run, all replies come from it.
"""

from __future__ import annotations

import asyncio
import sys

from vectorcache_llm import Request, Scope, load, open_caches

QUESTIONS = [
    "How do I reverse a list in Python?",
    "How can I reverse a Python list?",  # similar: served from the cache
    "How do I reverse a list in Java?",  # another language: the guard refuses the reply
]


async def ask_the_model(request: Request) -> str:
    """Stand in for the client of a model. It may return a text, a ``Reply`` or a chat completion."""
    return f"(the model's answer to: {request.question})"


async def main(folder: str) -> None:
    """Ask each question, and print where its reply came from."""
    async with await open_caches(load(code={"data": folder})) as caches:
        for question in QUESTIONS:
            request = Request(question, model="any")
            answer = await caches.response.get_or_call(request, ask_the_model, Scope("acme"))
            print(f"{answer.lookup.outcome:<9} {question} -> {answer.reply.text}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "./llm-data"))
