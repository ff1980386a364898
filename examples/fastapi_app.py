"""A FastAPI application that caches the replies of an OpenAI-compatible server.

    pip install 'vectorcache[examples]'
    MODEL_URL=http://127.0.0.1:11434/v1 uvicorn --app-dir examples fastapi_app:app
    curl http://127.0.0.1:8000/ask --json '{"user": "ann", "question": "What is a monad?"}'

MODEL is the name of the model, and DATA the folder of the cache.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import BaseModel

from vectorcache_llm import Request, Scope, load, open_caches


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the caches and the model's client with the application, and close both with it."""
    configuration = load(environ=os.environ, code={"data": os.environ.get("DATA", "./llm-data")})
    async with (
        await open_caches(configuration, os.environ) as caches,
        httpx.AsyncClient(base_url=os.environ["MODEL_URL"], timeout=60) as model,
    ):
        app.state.caches, app.state.model = caches, model
        yield


app = FastAPI(lifespan=lifespan)


class Question(BaseModel):
    """A user's question. Each user has a separate partition of the cache."""

    user: str
    question: str


@app.post("/ask")
async def ask(body: Question) -> dict[str, str]:
    """Return the reply, and how it was found: exact, semantic, miss or another outcome."""

    async def call(request: Request) -> dict[str, Any]:
        chat = {"model": request.model, "messages": request.messages}
        response = await app.state.model.post("/chat/completions", json=chat)
        return response.raise_for_status().json()

    request = Request(body.question, model=os.environ.get("MODEL", "default"))
    answer = await app.state.caches.response.get_or_call(request, call, Scope("example", user=body.user))
    return {"reply": answer.reply.text, "outcome": answer.lookup.outcome}
