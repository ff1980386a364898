"""Settings as a frozen dataclass, read from environment variables and command-line flags.

    @dataclass(frozen=True)
    class NodeSettings:
        listen: Address = setting(address, "0.0.0.0:8080", "address to listen on")
        memory: int = setting(size(), "4Gi", "capacity of the memory layer")

    settings = read(NodeSettings, os.environ, sys.argv[1:])

``memory`` is set by the variable VECTORCACHE_MEMORY or by the flag ``--memory``, which takes precedence.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from vectorcache.errors import InvalidInput

T = TypeVar("T")

PREFIX = "VECTORCACHE_"


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of value: a parser of its text (ValueError if it is not allowed), and a description of allowed values."""

    parse: Callable[[str], T]
    allowed: str


class Address(NamedTuple):
    """A host and port to listen on or connect to."""

    host: str
    port: int


def setting(kind: Kind[T], default: str, help: str) -> T:  # noqa: A002 - argparse's word
    """Declare a field of a settings dataclass. The default is text and is parsed like any other value."""
    metadata = {"kind": kind, "text": default, "help": help}
    return dataclasses.field(default=kind.parse(default), metadata=metadata)


def read(settings: type[T], environ: Mapping[str, str], argv: Sequence[str] = ()) -> T:
    """Build a settings dataclass from defaults, then the environment, then flags.

    Raises:
        InvalidInput: a value is not allowed. The error names its variable or flag.
        SystemExit: a flag is unknown, or is --help.
    """
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(settings)  # type: ignore[arg-type]
    flags = vars(_flags(fields).parse_args(argv))
    values = {}
    for field in fields:
        for source, text in ((flag(field.name), flags[field.name]), _variable(field.name, environ)):
            if text is not None:
                values[field.name] = parse(field.metadata["kind"], source, text)
                break
    return settings(**values)


def parse(kind: Kind[T], key: str, text: str) -> T:
    """Parse one value.

    Raises:
        InvalidInput: the value is not allowed.
    """
    try:
        return kind.parse(text.strip())
    except ValueError as error:
        raise InvalidInput(key, text, kind.allowed) from error


def flag(name: str) -> str:
    """Return the flag of a field: ``--shutdown-timeout`` for ``shutdown_timeout``."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return the environment variable of a field: ``VECTORCACHE_SHUTDOWN_TIMEOUT``."""
    return PREFIX + name.upper()


# Kinds of values


def integer(least: int = 0, most: int | None = None) -> Kind[int]:
    """Return the kind of whole numbers between two bounds."""
    return Kind(lambda text: _bounded(int(text), least, most), f"a whole number{_between(least, most)}")


def number(least: float = 0.0, most: float | None = None) -> Kind[float]:
    """Return the kind of finite numbers between two bounds."""
    return Kind(lambda text: _bounded(float(text), least, most), f"a number{_between(least, most)}")


def size(least: int = 1) -> Kind[int]:
    """Return the kind of sizes in bytes, written as in Kubernetes: ``512Mi``, ``4Gi``, ``100M``, ``1048576``."""
    allowed = f"bytes such as 512Mi, 4Gi, 100M or 1048576, at least {least}"
    return Kind(lambda text: _bounded(int(_quantity(text, _SIZE_UNITS)), least, None), allowed)


def duration(least: float = 0.0) -> Kind[float]:
    """Return the kind of durations in seconds, written with a unit: ``500ms``, ``2s``, ``5m``, ``1h``."""
    allowed = f"a duration such as 500ms, 2s, 5m or 1h, at least {least:g}s"
    return Kind(lambda text: _bounded(_quantity(text, _TIME_UNITS), least, None), allowed)


def choice(*names: str) -> Kind[str]:
    """Return the kind of values that are one of the given names."""
    return Kind(lambda text: names[names.index(text)], f"one of {', '.join(names)}")


def text(pattern: str = r".*") -> Kind[str]:
    """Return the kind of texts that fully match a regular expression."""
    return Kind(lambda value: _matched(pattern, value)[0], f"text of the form {pattern}")


def _address(value: str) -> Address:
    found = _matched(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>\d{1,5})", value)
    return Address(found["v6"] or found["host"], _bounded(int(found["port"]), 0, 65535))


address = Kind(_address, "host:port such as 0.0.0.0:8080, [::1]:8080 or localhost:0, port 0 to 65535")

_SIZE_UNITS = {"": 1.0, **{unit: 1000.0**n for n, unit in enumerate("kMGT", 1)}}
_SIZE_UNITS |= {f"{unit}i": 1024.0**n for n, unit in enumerate("KMGT", 1)}
_TIME_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def _quantity(value: str, units: Mapping[str, float]) -> float:
    found = _matched(r"(\d+(?:\.\d+)?)([A-Za-z]*)", value)
    if found[2] not in units:
        raise ValueError(value)
    return _bounded(float(found[1]) * units[found[2]], 0.0, None)


def _matched(pattern: str, value: str) -> re.Match[str]:
    found = re.fullmatch(pattern, value)
    if found is None:
        raise ValueError(value)
    return found


N = TypeVar("N", int, float)


def _bounded(value: N, least: N, most: N | None) -> N:
    if not (math.isfinite(value) and least <= value and (most is None or value <= most)):
        raise ValueError(value)
    return value


def _between(least: float, most: float | None) -> str:
    return f" of at least {least:g}" if most is None else f" from {least:g} to {most:g}"


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str | None]:
    return variable(name), environ.get(variable(name))


def _flags(fields: Sequence[dataclasses.Field[Any]]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for field in fields:
        shown = f"{field.metadata['help']} (default {field.metadata['text'] or 'none'})".replace("%", "%%")
        parser.add_argument(flag(field.name), dest=field.name, metavar="VALUE", help=shown)
    return parser
