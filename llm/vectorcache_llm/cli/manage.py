"""``vectorcache llm invalidate``, ``stats``, ``metrics``, ``config``."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer
from prometheus_client import CollectorRegistry, generate_latest

from vectorcache.errors import InvalidInput
from vectorcache_llm.cli.counts import load_counts
from vectorcache_llm.cli.options import TENANT, Caches, ConfigFile, Data, Json, TagFilter, seconds
from vectorcache_llm.cli.output import NOTHING, note, print_json, print_report
from vectorcache_llm.cli.session import configuration, folder_of, with_caches
from vectorcache_llm.config.build import metrics_of
from vectorcache_llm.manager import Manager, Report
from vectorcache_llm.metrics import MetricsCollector
from vectorcache_llm.scope import Scope, Selection
from vectorcache_tools.cli.options import print_facts, print_table


def invalidate(
    all_: Annotated[
        bool, typer.Option("--all", help="Allow a command without conditions, which deletes everything.")
    ] = False,
    pattern: Annotated[
        str | None, typer.Option("--pattern", help="Only entries whose key or text matches this glob.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", help="Only entries older than this: 90s, 5m, 2h, 7d.")
    ] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only entries of this tenant.")] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="Only entries of this user; requires --tenant.")
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option("--scope", help="Only entries of this scope, for example an application or a language."),
    ] = None,
    tag: TagFilter = None,
    similar: Annotated[
        str | None,
        typer.Option("--similar", help="Only replies to prompts similar to this text, in one scope."),
    ] = None,
    min_similarity: Annotated[
        float, typer.Option("--min-similarity", help="Minimum cosine similarity for --similar.")
    ] = 0.9,
    cache: Caches = None,
    data: Data = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Delete the entries that meet all given conditions."""
    age = seconds("--older-than", older_than)
    selection = Selection(tenant, user, scope, pattern, frozenset(tag or ()))
    if not (all_ or similar or age is not None or selection != Selection()):
        raise InvalidInput("conditions", None, "at least one condition, or --all")
    if user is not None and tenant is None:
        raise InvalidInput("--user", user, "a user given together with --tenant")
    if similar and (all_ or pattern or tag or age is not None):
        raise InvalidInput(
            "--similar", similar, "a combination with --tenant, --user, --scope and --cache only"
        )

    async def delete(caches: Manager) -> Report:
        if similar:
            owner = Scope(tenant or TENANT, user or "", scope or "")
            return await caches.invalidate_similar(owner, similar, min_similarity, cache or ["response"])
        return await caches.invalidate(selection, cache or (), older_than=age)

    print_report(with_caches(config, data, delete), "deleted", json=json)


def stats(data: Data = None, config: ConfigFile = None, json: Json = False) -> None:
    """Show statistics of the caches and the health of their components. The exit code is 1 if one is unhealthy."""

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
        print_table(("cache", "part", "ok", "ms", "detail"), rows)
    if not all(part["ok"] for parts in health.values() for part in parts):
        raise typer.Exit(NOTHING)


def metrics(
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print the Prometheus text format.")
    ] = False,
    data: Data = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show the metrics of all commands on this data folder: hits, latencies, hot keys and savings."""
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
    """Show every setting with its value and source. Secrets are masked."""
    shown = configuration(config, data).shown()
    if json:
        print_json(shown)
    else:
        rows = ((key, _text(one["value"]), one["source"]) for key, one in shown.items())
        print_table(("setting", "value", "source"), rows)


def _print_metrics(counted: dict[str, Any]) -> None:
    if not counted["caches"]:
        note("no metrics yet")
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
    """Flatten nested facts to one per line."""
    found: list[tuple[str, object]] = []
    for name, value in facts.items():
        found += _facts(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return found


def _text(value: object) -> str:
    return (
        "none" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
    )
