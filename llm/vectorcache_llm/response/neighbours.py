"""The stored questions most similar to one, and whether their replies would be served; for inspecting the cache."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from vectorcache_llm.response.reply import Reply
from vectorcache_llm.response.request import Request
from vectorcache_llm.response.semantic import Semantic
from vectorcache_llm.response.tier import Tier
from vectorcache_llm.scope import Scope
from vectorcache_llm.similarity.base import Match, Partition

SECONDS = 10.0
"""Deadline for the embedder."""


class Neighbour(NamedTuple):
    """A stored question of the same context, its cosine, its reply, and why that would not be served, or empty."""

    question: str
    similarity: float
    reply: Reply
    refused: str


async def neighbours(
    tiers: Sequence[Tier], semantic: Semantic, request: Request, scope: Scope, k: int
) -> list[Neighbour]:
    """Return at most ``k`` neighbours from all tiers, the most similar first.

    Raises:
        InvalidInput: ``k`` is less than 1.
        Unavailable: the question could not be embedded, or a tier failed.
    """
    if not request.question:
        return []
    deadline = asyncio.get_running_loop().time() + SECONDS
    vector = (
        await semantic.part.run("embed", lambda: semantic.embedder.embed((request.question,)), deadline)
    )[0]
    partition = Partition(scope, request.context)
    found: dict[str, Match] = {}
    for tier in tiers:
        for match in await tier.index.search(partition, vector, k):
            found.setdefault(match.entry.id, match)
    nearest = sorted(found.values(), key=lambda match: -match.similarity)[:k]
    return [one for match in nearest if (one := _neighbour(semantic, request.question, match)) is not None]


def _neighbour(semantic: Semantic, question: str, match: Match) -> Neighbour | None:
    stored = semantic.decode(match.entry, "")
    if stored is None:
        return None
    refused = semantic.refused(question, match.entry.text, match.similarity)
    return Neighbour(match.entry.text, match.similarity, stored.reply, refused)
