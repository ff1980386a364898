"""The settings as a flat table, with a description of the values that each accepts."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from vectorcache_llm.config.settings import Section, Settings
from vectorcache_llm.metrics import Price

PREFIX = "VECTORCACHE_LLM_"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        key: section and name, such as "response.ttl".
        type: type annotation, as msgspec accepts it.
        default: default value.
        about: description for users.
    """

    key: str
    type: Any
    default: Any
    about: str

    @property
    def variable(self) -> str:
        """Name of its environment variable."""
        return PREFIX + self.key.replace(".", "_").upper()

    @property
    def allowed(self) -> str:
        """Description of the accepted values."""
        return allowed(self.type)


def settings_of(kind: type[Section], prefix: str = "") -> Iterator[Setting]:
    """Yield every setting of a section and its subsections."""
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            yield from settings_of(field.type, f"{prefix}{field.name}.")
        else:
            hint = hints[field.name]
            about = next((meta.description for meta in get_args(hint)[1:] if meta.description), "")
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            yield Setting(prefix + field.name, hint, default, about)


SETTINGS = {setting.key: setting for setting in settings_of(Settings)}
"""Every setting by its key, in the order of definition."""


def allowed(kind: Any) -> str:
    """Describe the values that a type accepts."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return allowed(arguments[0]) + _bounds(arguments[1:])
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (Union, types.UnionType):
        return ", or ".join("none" if one is type(None) else allowed(one) for one in arguments)
    if origin is tuple:
        return f"a list, each item {allowed(arguments[0])}"
    if origin is dict:
        return "a mapping of model names to prices" if arguments[1] is Price else "a mapping"
    return {str: "a string", bool: "true or false", int: "an integer", float: "a number"}[kind]


def _bounds(metas: tuple[Meta, ...]) -> str:
    words = ""
    for meta in metas:
        above = {"greater than {:g}": meta.gt, "at least {:g}": meta.ge, "at most {:g}": meta.le}
        words += "".join(f", {form.format(bound)}" for form, bound in above.items() if bound is not None)
        words += ", not empty" if meta.min_length else ""
        words += f", matching {meta.pattern}" if meta.pattern else ""
    return words
