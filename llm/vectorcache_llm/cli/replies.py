"""``vectorcache llm set``, ``get`` and ``similar``: manual access to the response cache."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vectorcache_llm.cli.options import (
    TENANT,
    ConfigFile,
    Data,
    Json,
    Model,
    ScopeName,
    System,
    Tags,
    Tenant,
    Ttl,
    User,
    seconds,
)
from vectorcache_llm.cli.output import NOTHING, note, print_json
from vectorcache_llm.cli.session import with_caches
from vectorcache_llm.manager import Manager
from vectorcache_llm.response.lookup import Lookup
from vectorcache_llm.response.reply import Reply
from vectorcache_llm.response.request import Request
from vectorcache_llm.scope import Scope
from vectorcache_tools.cli.options import print_table

Prompt = Annotated[str, typer.Argument(help="Prompt of the user.", show_default=False)]


def set_(
    prompt: Prompt,
    reply: Annotated[
        str, typer.Argument(help="Reply of the model, or - for standard input.", show_default=False)
    ],
    model: Model = "",
    system: System = "",
    tenant: Tenant = TENANT,
    user: User = "",
    scope: ScopeName = "",
    ttl: Ttl = None,
    tag: Tags = None,
    data: Data = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Store the reply to a prompt."""
    text = sys.stdin.read() if reply == "-" else reply
    request, owner = _request(prompt, system, model), Scope(tenant, user, scope)
    lifetime = seconds("--ttl", ttl)

    async def put(caches: Manager) -> bool:
        return await caches.response.put(request, Reply(text, model), owner, ttl=lifetime, tags=tag or ())

    kept = with_caches(config, data, put)
    if json:
        print_json({"kept": kept, "id": request.key(owner)})
    else:
        typer.echo("kept" if kept else "not kept: the reply is empty, or no tier stored it")
    if not kept:
        raise typer.Exit(NOTHING)


def get(
    prompt: Prompt,
    model: Model = "",
    system: System = "",
    tenant: Tenant = TENANT,
    user: User = "",
    scope: ScopeName = "",
    data: Data = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Look up the reply to a prompt. The exit code is 1 if there is none."""
    request, owner = _request(prompt, system, model), Scope(tenant, user, scope)
    found = with_caches(config, data, lambda caches: caches.response.get(request, owner))
    if json:
        print_json(_shown(found))
    elif found.reply is not None:
        typer.echo(found.reply.text)
        note(_about(found))
    else:
        note(_about(found))
    if found.reply is None:
        raise typer.Exit(NOTHING)


def similar(
    prompt: Prompt,
    k: Annotated[int, typer.Option("-k", help="Maximum number of results.")] = 5,
    model: Model = "",
    system: System = "",
    tenant: Tenant = TENANT,
    user: User = "",
    scope: ScopeName = "",
    data: Data = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show the most similar stored prompts, and whether their replies would be served."""
    request, owner = _request(prompt, system, model), Scope(tenant, user, scope)
    found = with_caches(config, data, lambda caches: caches.response.similar(request, owner, k=k))
    if json:
        print_json([{**one._asdict(), "reply": one.reply.text} for one in found])
    else:
        rows = (
            (one.question, round(one.similarity, 4), one.refused or "yes", one.reply.text) for one in found
        )
        print_table(("question", "similarity", "served", "reply"), rows)
    if not found:
        raise typer.Exit(NOTHING)


def _request(prompt: str, system: str, model: str) -> Request:
    before = [{"role": "system", "content": system}] if system else []
    return Request([*before, {"role": "user", "content": prompt}], model)


def _shown(found: Lookup) -> dict[str, object]:
    return {
        "outcome": found.outcome,
        "reply": None if found.reply is None else found.reply.text,
        "model": None if found.reply is None else found.reply.model,
        "tier": found.tier,
        "similarity": found.similarity,
        "matched": found.matched,
        "reason": found.reason,
        "milliseconds": found.seconds * 1e3,
    }


def _about(found: Lookup) -> str:
    """Describe the outcome of a look-up in one line."""
    near = "" if found.similarity is None else f", similarity {found.similarity:.3f}"
    matched = f" to {found.matched!r}" if found.matched else ""
    where = f" in {found.tier}" if found.tier else ""
    why = f": {found.reason}" if found.reason else ""
    return f"{found.outcome}{where}{near}{matched}{why}, {found.seconds * 1e3:.2f} ms"
