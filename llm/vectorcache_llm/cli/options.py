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
    typer.Option("--config", help="A YAML file of settings.", show_default="VECTORCACHE_LLM_CONFIG, or none"),
]
Data: TypeAlias = Annotated[
    Path | None, typer.Option("--data", help="Folder of files.", show_default="the setting data")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Tenant: TypeAlias = Annotated[str, typer.Option("--tenant", help="Whose: the customer.")]
User: TypeAlias = Annotated[
    str, typer.Option("--user", help="Whose: a person of the tenant.", show_default="what all share")
]
ScopeName: TypeAlias = Annotated[
    str, typer.Option("--scope", help="Whose: an application, a language, ...", show_default="none")
]
Model: TypeAlias = Annotated[str, typer.Option("--model", help="Name of the model.", show_default="none")]
System: TypeAlias = Annotated[str, typer.Option("--system", help="The system prompt.", show_default="none")]
Tags: TypeAlias = Annotated[list[str] | None, typer.Option("--tag", help="For invalidation; repeatable.")]
Caches: TypeAlias = Annotated[
    list[str] | None, typer.Option("--cache", help="Only this cache; repeatable.", show_default="all")
]
Ttl: TypeAlias = Annotated[
    str | None, typer.Option("--ttl", help="How long it lives: 90s, 5m, 2h, 7d.", show_default="the setting")
]

TENANT = EVERYBODY.tenant

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def seconds(field: str, span: str | None) -> float | None:
    """Seconds of a span of time such as 90s, 5m, 2h or 7d.

    Raises:
        InvalidInput: it is none.
    """
    if span is None:
        return None
    found = _SPAN.fullmatch(span)
    if found is None:
        raise InvalidInput(field, span, "a span such as 90s, 5m, 2h or 7d")
    return float(found[1]) * _UNITS[found[2]]
