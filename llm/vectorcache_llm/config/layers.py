"""Layers of settings: a later layer overrides an earlier one, and each value records its source."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
import yaml

from vectorcache.errors import InvalidInput
from vectorcache_llm.config.kinds import PREFIX, SETTINGS, Setting
from vectorcache_llm.config.secrets import MASK, masked
from vectorcache_llm.config.settings import Settings
from vectorcache_llm.errors import InvalidSetting

DEFAULT = "default"
CODE = "code"
FILE_VARIABLE = PREFIX + "CONFIG"
"""Environment variable with the path of the YAML file, used where the program gives none."""

SECTIONS = {key.partition(".")[0] for key in SETTINGS if "." in key}


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings, and the source of each: "default", a file's path, an environment variable, or "code"."""

    settings: Settings
    sources: Mapping[str, str]

    def shown(self) -> dict[str, dict[str, Any]]:
        """Return every setting's value and source, as JSON values; secrets are masked."""
        values = dict(_flat(msgspec.to_builtins(self.settings)))
        return {key: {"value": masked(key, values[key]), "source": self.sources[key]} for key in SETTINGS}


def load(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    code: Mapping[str, Any] | None = None,
) -> Configuration:
    """Read all layers.

    Args:
        file: a YAML file. Without it, the path in VECTORCACHE_LLM_CONFIG is read, if that is set.
        environ: the environment. VECTORCACHE_LLM_RESPONSE_TTL sets ``response.ttl``. Lists are separated by commas,
            mappings are written as JSON, and "none" stands for None.
        code: settings by key, or nested by section as in the file.

    Raises:
        InvalidSetting: a key is unknown, or a value is not allowed; names the key, its source and the allowed values.
        InvalidInput: the file cannot be read.
    """
    environ = environ or {}
    if file is None and environ.get(FILE_VARIABLE):
        file = Path(environ[FILE_VARIABLE])
    values = {key: setting.default for key, setting in SETTINGS.items()}
    sources = dict.fromkeys(SETTINGS, DEFAULT)
    given = [*(_file(file) if file else ()), *_environment(environ), *_mapping(code or {}, CODE)]
    for key, value, source in given:
        values[key], sources[key] = value, source
    return Configuration(_settings(values), sources)


def _file(path: Path) -> Iterator[tuple[str, Any, str]]:
    try:
        content = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInput("config", str(path), f"a readable YAML file ({error})") from error
    if content is not None and not isinstance(content, dict):
        raise InvalidInput("config", str(path), "a mapping of sections")
    return _mapping(content or {}, str(path))


def _environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Any, str]]:
    known = {setting.variable: setting for setting in SETTINGS.values()}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable == FILE_VARIABLE:
            continue
        if variable not in known:
            raise InvalidSetting("key", variable, _known(variable, known), "the environment")
        setting = known[variable]
        yield setting.key, _converted(setting, _parsed(setting, text), variable, strict=False), variable


def _mapping(content: Mapping[str, Any], source: str) -> Iterator[tuple[str, Any, str]]:
    for key, value in _flat(content):
        if key not in SETTINGS:
            raise InvalidSetting("key", key, _known(key, SETTINGS), source)
        yield key, _converted(SETTINGS[key], value, source, strict=True), source


def _flat(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield settings by key; keys that are flat already are passed through."""
    for name, value in content.items():
        if name in SECTIONS and isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", one) for inner, one in value.items())
        elif not (name in SECTIONS and value is None):  # an empty section
            yield str(name), value


def _parsed(setting: Setting, text: str) -> Any:
    """Parse the text of an environment variable."""
    kinds = list(_plain(setting.type))
    if type(None) in kinds and text.lower() in ("", "none"):
        return None
    if tuple in kinds:
        return [one.strip() for one in text.split(",") if one.strip()]
    if dict in kinds:
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text  # not a mapping, so the conversion rejects it
    return text


def _plain(kind: Any) -> Iterator[Any]:
    """Yield the types that a value may have, without their constraints."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _plain(get_args(kind)[0])
    elif origin in (Union, types.UnionType):
        for one in get_args(kind):
            yield from _plain(one)
    else:
        yield origin or kind


def _converted(setting: Setting, value: Any, source: str, *, strict: bool) -> Any:
    try:
        found = msgspec.convert(value, setting.type, strict=strict)
        if isinstance(found, tuple) and len(set(found)) < len(found):
            raise InvalidSetting(setting.key, value, f"{setting.allowed}, without duplicates", source)
        return found
    except msgspec.ValidationError as error:
        raise InvalidSetting(setting.key, _loggable(setting, value), setting.allowed, source) from error


def _loggable(setting: Setting, value: Any) -> Any:
    """Mask the secrets of a value. A malformed mapping is masked whole, since it may contain secrets."""
    malformed = dict in _plain(setting.type) and not isinstance(value, Mapping)
    return MASK if malformed else masked(setting.key, value)


def _settings(values: Mapping[str, Any]) -> Settings:
    """Build the settings from flat values that have been converted already."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[name] = value
    kinds = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    return Settings(**{name: kinds[name](**one) if name in SECTIONS else one for name, one in nested.items()})


def _known(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.6)
    return f"a known key; did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
