from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass

import pytest

from vectorcache.errors import InvalidInput
from vectorcache_service import settings
from vectorcache_service.settings import Address, Kind, setting


@dataclass(frozen=True)
class Example:
    listen: Address = setting(settings.address, "0.0.0.0:8080", "where to listen")
    memory: int = setting(settings.size(), "4Gi", "capacity of the memory layer")
    drain_delay: float = setting(settings.duration(), "5s", "wait at the end, 100% of it")
    log_format: str = setting(settings.choice("json", "console"), "json", "format of the logs")


def test_defaults_hold_where_nothing_is_given() -> None:
    assert settings.read(Example, {}) == Example(Address("0.0.0.0", 8080), 4 * 2**30, 5.0, "json")


def test_flags_win_over_the_environment_and_others_are_left_alone() -> None:
    environ = {"VECTORCACHE_MEMORY": "1Gi", "VECTORCACHE_DRAIN_DELAY": "10s", "PATH": "/bin"}
    read = settings.read(Example, environ, ["--memory", "2Gi", "--log-format=console"])
    assert (read.memory, read.drain_delay, read.log_format) == (2 * 2**30, 10.0, "console")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        settings.read(Example, {}).memory = 1  # type: ignore[misc]


def test_an_invalid_value_is_reported_with_its_source_and_allowed_values() -> None:
    with pytest.raises(InvalidInput, match=r"VECTORCACHE_MEMORY: 'lots' .* 512Mi"):
        settings.read(Example, {"VECTORCACHE_MEMORY": "lots"})
    with pytest.raises(InvalidInput, match=r"--log-format: 'xml' .* json, console"):
        settings.read(Example, {}, ["--log-format", "xml"])


def test_unknown_flags_end_the_program_and_help_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        settings.read(Example, {}, ["--memry", "1"])
    assert caught.value.code == 2
    with pytest.raises(SystemExit) as caught:
        settings.read(Example, {}, ["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for expected in ("--listen", "--drain-delay", "100% of it", "(default 4Gi)"):
        assert expected in shown


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (settings.integer(), " 12 ", 12),
        (settings.number(0, 1), "0.5", 0.5),
        (settings.size(), "1048576", 1048576),
        (settings.size(), "512Mi", 512 * 2**20),
        (settings.size(), "1.5Gi", 3 * 2**29),
        (settings.size(), "100M", 100_000_000),
        (settings.size(), "2k", 2000),
        (settings.duration(), "500ms", 0.5),
        (settings.duration(), "2s", 2.0),
        (settings.duration(), "1.5m", 90.0),
        (settings.duration(), "1h", 3600.0),
        (settings.address, "localhost:0", Address("localhost", 0)),
        (settings.address, "[::1]:8080", Address("::1", 8080)),
        (settings.choice("a", "b"), "b", "b"),
        (settings.text("[a-z]+"), "glove", "glove"),
    ],
)
def test_values_are_parsed(kind: Kind[object], text: str, value: object) -> None:
    assert settings.parse(kind, "KEY", text) == value


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (settings.integer(1, 10), ["", "0", "11", "1.5", "x"]),
        (settings.number(0, 1), ["nan", "inf", "-1", "1.1", "1,0"]),
        (settings.size(), ["", "0", "-1Gi", "4GB", "4 Gi", "Gi", "4gi", "9" * 400]),
        (settings.duration(), ["5", "5 s", "-5s", "5d", "s"]),
        (settings.address, ["", "8080", "host", "host:", "host:65536", "::1:80", "a b:80", ":80"]),
        (settings.choice("a", "b"), ["", "c", "A"]),
        (settings.text("[a-z]+"), ["", "a1"]),
    ],
)
def test_invalid_values_are_refused(kind: Kind[object], texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(InvalidInput) as caught:
            settings.parse(kind, "KEY", text)
        assert (caught.value.field, caught.value.value, caught.value.allowed) == ("KEY", text, kind.allowed)
