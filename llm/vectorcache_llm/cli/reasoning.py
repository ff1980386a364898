"""``vectorcache llm set-reasoning`` and ``get-reasoning``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from vectorcache.errors import InvalidInput
from vectorcache_llm.cli.options import (
    TENANT,
    ConfigFile,
    Data,
    Json,
    ScopeName,
    Tags,
    Tenant,
    Ttl,
    User,
    seconds,
)
from vectorcache_llm.cli.output import NOTHING, note, print_json
from vectorcache_llm.cli.session import with_caches
from vectorcache_llm.manager import Manager
from vectorcache_llm.reasoning import (
    ChainOfThought,
    Node,
    Step,
    TreeOfThought,
    as_text,
    reasoning_id,
    rich_tree,
)
from vectorcache_llm.scope import Scope


def set_reasoning(
    file: Annotated[
        str,
        typer.Argument(help="JSON file with a chain or a tree, or - for standard input.", show_default=False),
    ],
    tenant: Tenant = TENANT,
    user: User = "",
    scope: ScopeName = "",
    ttl: Ttl = None,
    tag: Tags = None,
    data: Data = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Store a chain ({"kind": "chain", "problem": ..., "steps": [...]}) or a tree ({"kind": "tree", ...})."""
    reasoning = _read(file)
    owner, lifetime = Scope(tenant, user, scope), seconds("--ttl", ttl)

    async def put(caches: Manager) -> bool:
        return await caches.reasoning.put(reasoning, owner, ttl=lifetime, tags=tag or ())

    kept = with_caches(config, data, put)
    if json:
        print_json({"kept": kept, "id": reasoning_id(reasoning.problem)})
    else:
        typer.echo("kept" if kept else "not kept: the store did not accept it")
    if not kept:
        raise typer.Exit(NOTHING)


def get_reasoning(
    problem: Annotated[str, typer.Argument(help="Text of the problem.", show_default=False)],
    step: Annotated[int | None, typer.Option("--step", help="Show only this step of a chain.")] = None,
    node: Annotated[str | None, typer.Option("--node", help="Show only this node of a tree.")] = None,
    similar: Annotated[
        bool, typer.Option("--similar", help="Fall back to the most similar problem.")
    ] = False,
    tenant: Tenant = TENANT,
    user: User = "",
    scope: ScopeName = "",
    data: Data = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show the reasoning for a problem. The exit code is 1 if there is none."""
    owner = Scope(tenant, user, scope)

    async def find(caches: Manager) -> ChainOfThought | TreeOfThought | None:
        found = await caches.reasoning.get(problem, owner)
        near = await caches.reasoning.similar(problem, owner, k=1) if similar and found is None else []
        return near[0].reasoning if near else found

    found = with_caches(config, data, find)
    part = found if found is None else _part(found, step, node)
    if json:
        print_json(part)
    elif part is None:
        note("miss")
    elif isinstance(part, TreeOfThought):
        Console().print(rich_tree(part))
        typer.echo(f"answer: {part.answer}" if part.answer else "no answer yet")
    else:
        typer.echo(as_text(part) if isinstance(part, ChainOfThought) else part.thought)
    if part is None:
        raise typer.Exit(NOTHING)


def _read(file: str) -> ChainOfThought | TreeOfThought:
    try:
        text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        found: ChainOfThought | TreeOfThought = msgspec.json.decode(text, type=ChainOfThought | TreeOfThought)
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidInput("FILE", file, f"a JSON file with a chain or a tree ({error})") from error
    return found


def _part(
    found: ChainOfThought | TreeOfThought, step: int | None, node: str | None
) -> ChainOfThought | TreeOfThought | Step | Node | None:
    if step is not None:
        return found.step(step) if isinstance(found, ChainOfThought) else None
    if node is not None:
        return found.node(node) if isinstance(found, TreeOfThought) else None
    return found
