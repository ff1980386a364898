"""Options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from vectorcache.errors import InvalidInput
from vectorcache_llm.scope import EVERYBODY

ConfigFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file with settings.", show_default="VECTORCACHE_LLM_CONFIG, or none"),
]
Data: TypeAlias = Annotated[
    Path | None, typer.Option("--data", help="Data folder.", show_default="the data setting")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Tenant: TypeAlias = Annotated[str, typer.Option("--tenant", help="Tenant that the entry belongs to.")]
User: TypeAlias = Annotated[
    str, typer.Option("--user", help="User of the tenant.", show_default="shared by all users")
]
ScopeName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--scope", help="Scope of the entry, for example an application or a language.", show_default="none"
    ),
]
Model: TypeAlias = Annotated[str, typer.Option("--model", help="Model name.", show_default="none")]
System: TypeAlias = Annotated[str, typer.Option("--system", help="System prompt.", show_default="none")]
Tags: TypeAlias = Annotated[
    list[str] | None, typer.Option("--tag", help="Tag, for invalidation; repeatable.")
]
TagFilter: TypeAlias = Annotated[
    list[str] | None, typer.Option("--tag", help="Only entries with one of these tags; repeatable.")
]
Caches: TypeAlias = Annotated[
    list[str] | None, typer.Option("--cache", help="Only this cache; repeatable.", show_default="all")
]
Ttl: TypeAlias = Annotated[
    str | None, typer.Option("--ttl", help="Lifetime: 90s, 5m, 2h, 7d.", show_default="the ttl setting")
]

TENANT = EVERYBODY.tenant

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def seconds(field: str, duration: str | None) -> float | None:
    """Return the seconds of a duration such as 90s, 5m, 2h or 7d; None for None.

    Raises:
        InvalidInput: the text is not a duration.
    """
    if duration is None:
        return None
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise InvalidInput(field, duration, "a duration such as 90s, 5m, 2h or 7d")
    return float(found[1]) * _UNITS[found[2]]
