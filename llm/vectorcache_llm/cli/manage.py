"""``vectorcache llm invalidate``, ``stats``, ``metrics``, ``config``."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer
from prometheus_client import CollectorRegistry, generate_latest

from vectorcache.errors import InvalidInput
from vectorcache_llm.cli.counts import load_counts
from vectorcache_llm.cli.options import TENANT, Caches, ConfigFile, Data, Json, Tags, seconds
from vectorcache_llm.cli.output import NOTHING, note, print_json, print_report
from vectorcache_llm.cli.session import configuration, folder_of, with_caches
from vectorcache_llm.config.build import metrics_of
from vectorcache_llm.manager import Manager, Report
from vectorcache_llm.metrics import MetricsCollector
from vectorcache_llm.scope import Scope, Selection
from vectorcache_tools.cli.options import print_facts, print_table


def invalidate(
    all_: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    pattern: Annotated[
        str | None, typer.Option("--pattern", help="A glob that the key or the text matches.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", help="Made longer ago than this: 90s, 5m, 2h, 7d.")
    ] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Of this customer.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Of this person; with --tenant.")] = None,
    scope: Annotated[str | None, typer.Option("--scope", help="Of this application, language, ...")] = None,
    tag: Tags = None,
    similar: Annotated[
        str | None,
        typer.Option("--similar", help="About nearly this, in one scope; from the response cache."),
    ] = None,
    min_similarity: Annotated[
        float, typer.Option("--min-similarity", help="The least cosine similarity, with --similar.")
    ] = 0.9,
    cache: Caches = None,
    data: Data = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Delete entries that meet every condition that is given."""
    age = seconds("--older-than", older_than)
    selection = Selection(tenant, user, scope, pattern, frozenset(tag or ()))
    if not (all_ or similar or age is not None or selection != Selection()):
        raise InvalidInput("conditions", None, "at least one, or --all")
    if user is not None and tenant is None:
        raise InvalidInput("--user", user, "a user together with --tenant")
    if similar and (all_ or pattern or tag or age is not None):
        raise InvalidInput(
            "--similar", similar, "no condition beside it but --tenant, --user, --scope and --cache"
        )

    async def delete(caches: Manager) -> Report:
        if similar:
            whose = Scope(tenant or TENANT, user or "", scope or "")
            return await caches.invalidate_similar(whose, similar, min_similarity, cache or ["response"])
        return await caches.invalidate(selection, cache or (), older_than=age)

    print_report(with_caches(config, data, delete), "deleted", json=json)


def stats(data: Data = None, config: ConfigFile = None, json: Json = False) -> None:
    """What is in the caches, and how every part of them is; the exit code is 1 where one is not well."""

    async def ask(caches: Manager) -> tuple[dict[str, Any], dict[str, Any]]:
        return dict(await caches.stats()), msgspec.to_builtins(await caches.health())

    found, health = with_caches(config, data, ask)
    if json:
        print_json({"caches": found, "health": health})
    else:
        for name, facts in found.items():
            print_facts(_facts(facts), title=name)
        rows = (
            (name, part["name"], part["ok"], f"{part['seconds'] * 1e3:.2f}", part["detail"])
            for name, parts in health.items()
            for part in parts
        )
        print_table(("cache", "part", "ok", "ms", ""), rows)
    if not all(part["ok"] for parts in health.values() for part in parts):
        raise typer.Exit(NOTHING)


def metrics(
    prometheus: Annotated[bool, typer.Option("--prometheus", help="Print what Prometheus reads.")] = False,
    data: Data = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """What all commands on this data folder counted: hits, times, hot keys, what was saved."""
    settings = configuration(config, data)
    counted = metrics_of(settings.settings)
    load_counts(folder_of(settings), counted)
    if prometheus:
        registry = CollectorRegistry()
        registry.register(MetricsCollector(counted))
        typer.echo(generate_latest(registry).decode(), nl=False)
    elif json:
        print_json(counted.as_dict())
    else:
        _print_metrics(counted.as_dict())


def config(data: Data = None, config: ConfigFile = None, json: Json = False) -> None:
    """Every setting with its value and where it comes from; secrets are hidden."""
    shown = configuration(config, data).shown()
    if json:
        print_json(shown)
    else:
        rows = ((key, _text(one["value"]), one["source"]) for key, one in shown.items())
        print_table(("setting", "value", "from"), rows)


def _print_metrics(counted: dict[str, Any]) -> None:
    if not counted["caches"]:
        note("nothing was counted yet")
    rows = []
    for name, one in counted["caches"].items():
        times = one["latency"]["hits"]
        rows.append(
            (name, one["lookups"], one["hits"], f"{one['hit_rate']:.1%}", times["p50_ms"], times["p99_ms"])
        )
    print_table(("cache", "look-ups", "hits", "rate", "hit p50 ms", "hit p99 ms"), rows)
    print_facts(
        [(name, value) for name, value in counted["saved"].items() if not isinstance(value, dict)],
        title="saved",
    )


def _facts(facts: Any, prefix: str = "") -> list[tuple[str, object]]:
    """Nested facts, one a line."""
    found: list[tuple[str, object]] = []
    for name, value in facts.items():
        found += _facts(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return found


def _text(value: object) -> str:
    return (
        "none" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
    )
